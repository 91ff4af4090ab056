"""A cart written from docs/protocol.md alone, with nothing of this project in it: what that page leaves out, it lacks.

Attaches, publishes where it is, fetches a sealed model, gives one, and resumes. What it is told wrong, it asserts.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import struct
import time
from typing import Any

import aiohttp
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

Body = dict[str, Any]
HEADER_BYTES = 56
WINDOW_CHUNKS = 4


def hkdf(key: bytes, salt: bytes | None, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt, info).derive(key)


def joined(body: Body, *names: str) -> bytes:
    return b"".join(bytes.fromhex(body[name]) for name in names)


def request_bytes(request: Body, version: int) -> bytes:
    ids = joined(request, "transfer", "cluster", "source", "destination", "key")
    if version == 1:
        return b"cart-request-v1\0" + ids + struct.pack("!I", request["max_chunk_bytes"])
    numbers = struct.pack("!II", request["max_chunk_bytes"], request["key_epoch"])
    return b"cart-request-v2\0" + ids + numbers + joined(request, "terms")


def offer_bytes(offer: Body, version: int) -> bytes:
    if version == 2:
        numbers = struct.pack("!QII", offer["total_bytes"], offer["chunk_bytes"], offer["key_epoch"])
        ids = joined(offer, "transfer", "source", "destination", "key")
        return b"cart-offer-v2\0" + ids + numbers + joined(offer, "terms")
    ids = joined(offer, "transfer", "source", "destination", "digest", "model_signature", "key")
    names = ("total_bytes", "chunk_bytes", "chunks", "model_version", "samples", "accuracy")
    numbers = struct.pack("!QIIQQd", *(offer[name] for name in names))
    texts = [offer[name].encode() for name in ("codec", "cipher")]
    return b"cart-offer-v1\0" + ids + numbers + b"".join(struct.pack("!H", len(text)) + text for text in texts)


def sealed_terms(key: bytes, terms: Body) -> str:
    return ChaCha20Poly1305(key).encrypt(bytes(12), json.dumps(terms).encode(), None).hex()


def opened_terms(key: bytes, sealed: str) -> Body:
    terms: Body = json.loads(ChaCha20Poly1305(key).decrypt(bytes(12), bytes.fromhex(sealed), None))
    return terms


def check_signed(message: Body, signed: bytes, field: str = "signature") -> None:
    public = bytes.fromhex(message["public_key"])
    assert hashlib.sha256(public).digest()[:16].hex() == message["source"]
    Ed25519PublicKey.from_public_bytes(public).verify(bytes.fromhex(message[field]), signed)


def canonical(record: Body) -> bytes:
    return json.dumps(record, sort_keys=True, separators=(",", ":")).encode()


def nonce_of(number: int) -> bytes:
    return bytes(8) + struct.pack("!I", number)


class Fetching:
    """A model on its way in."""

    def __init__(self, request: Body, offer: Body, seal: AESGCM | ChaCha20Poly1305) -> None:
        self.request, self.offer, self.seal = request, offer, seal
        self.payload = bytearray()
        self.chunks = self.granted = 0

    @property
    def is_whole(self) -> bool:
        return len(self.payload) == self.offer["total_bytes"]

    def next_credit(self) -> int:
        self.granted = min(len(self.payload) + WINDOW_CHUNKS * self.offer["chunk_bytes"], self.offer["total_bytes"])
        return self.granted

    def take(self, frame: bytes) -> None:
        header, sealed = frame[:HEADER_BYTES], frame[HEADER_BYTES:]
        (number,) = struct.unpack("!I", header[52:])
        if number < self.chunks:
            return
        assert number == self.chunks
        bound = header + struct.pack("!Q", self.offer["total_bytes"])
        self.payload += self.seal.decrypt(nonce_of(number), sealed, bound)
        self.chunks += 1
        assert header[:4] == bytes([1, 1, int(self.is_whole), 0])


class IndependentCart:
    """One key pair, and the connection that it has at present; speaks transfers of version 2, or of version 1 alone."""

    def __init__(self, fleet_key: bytes = bytes(32), version: int = 2) -> None:
        self.version = version
        self.key = Ed25519PrivateKey.generate()
        self.public = self.key.public_key().public_bytes_raw()
        self.id = hashlib.sha256(self.public).digest()[:16].hex()
        self.token, self.secret = (hkdf(fleet_key, None, info) for info in (b"cart-bridge-token-v1", b"cart-seal-v1"))
        self.socket: aiohttp.ClientWebSocketResponse
        self.welcome: Body = {}

    async def attach(
        self, session: aiohttp.ClientSession, url: str, role: str, model_signature: str, version: int
    ) -> None:
        self.socket = await session.ws_connect(f"{url}/v1/cart", compress=0, max_msg_size=0)
        self.welcome = await self.hear("WELCOME")
        statement = b"cart-attach-v1\0" + joined(self.welcome, "nonce", "bridge_id")
        proof = hmac.digest(self.token, b"cart-admission-v1\0" + statement + self.public, "sha256")
        own = {"public_key": self.public.hex(), "signature": self.key.sign(statement).hex(), "proof": proof.hex()}
        await self.say("ATTACH", version=1, role=role, model_signature=model_signature, model_version=version, **own)
        assert (await self.hear("ATTACHED"))["cart_id"] == self.id

    async def say(self, kind: str, **body: Any) -> None:
        await self.socket.send_str(json.dumps({"type": kind, **body}))

    async def hear(self, *kinds: str) -> Body:
        """Return the next control message, which must be of one of these kinds."""
        frame = await self.socket.receive(timeout=10)
        assert frame.type is aiohttp.WSMsgType.TEXT, frame
        body: Body = json.loads(frame.data)
        assert body["type"] in kinds, body
        return body

    async def hear_chunk(self) -> bytes:
        frame = await self.socket.receive(timeout=10)
        assert frame.type is aiohttp.WSMsgType.BINARY, frame
        data: bytes = frame.data
        return data

    def break_off(self) -> None:
        """Lose the link without a word."""
        self.socket._response.connection.transport.abort()

    async def leave(self) -> None:
        await self.say("EXIT")
        await self.hear("EXITDONE")
        assert (await self.socket.receive(timeout=10)).type is aiohttp.WSMsgType.CLOSE
        assert self.socket.close_code == 1000

    def record(self, bridge_url: str, role: str, model_signature: str, **more: Any) -> str:
        now, sequence = int(time.time()), time.time_ns() // 1_000_000
        record: Body = {"kind": "cart", "public_key": self.public.hex(), "sequence": sequence, "issued_at_s": now}
        record |= {"expires_at_s": now + 3600, "bridge_id": self.welcome["bridge_id"], "bridge_url": bridge_url}
        record |= {"role": role, "model_signature": model_signature, **more}
        record["tag"] = hmac.digest(self.token, b"cart-record-tag-v1\0" + canonical(record), "sha256").hex()
        record["signature"] = self.key.sign(b"cart-record-v1\0" + canonical(record)).hex()
        return canonical(record).decode()

    def seal_of(self, shared: bytes, cipher: str, said: bytes) -> AESGCM | ChaCha20Poly1305:
        ciphers = {"aes-256-gcm": AESGCM, "chacha20-poly1305": ChaCha20Poly1305}
        return ciphers[cipher](hkdf(shared, self.secret, b"cart-chunks-v1" + hashlib.sha256(said).digest()))

    def request_key(self, request: Body) -> bytes:
        return hkdf(self.secret, joined(request, "key"), b"cart-request-terms-v2")

    def offer_key(self, shared: bytes, request: Body) -> bytes:
        said = hashlib.sha256(request_bytes(request, 2)).digest()
        return hkdf(shared, self.secret, b"cart-offer-terms-v2" + said)

    # As a receiver.

    async def ask(self, peer: str, codecs: tuple[str, ...] = ("float32",), **terms: Any) -> Fetching:
        """Ask for a cluster, and a peer of it for its model; return what it has offered."""
        own = X25519PrivateKey.generate()
        request = await self.send_request(peer, own, {"version": 2, "kind": "model", "codecs": codecs, **terms})
        offer = await self.hear("OFFER", "MODELPARAMETERS")
        shared = own.exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(offer["key"])))
        version = 2 if offer["type"] == "OFFER" else 1
        said = offer_bytes(offer, version)
        assert offer["source"] == peer
        check_signed(offer, said)
        if version == 2:
            assert self.version == 2
            assert offer["key_epoch"] == 0
            offer |= opened_terms(self.offer_key(shared, request), offer["terms"])
            assert (offer["version"], offer["kind"]) == (2, "model")
            assert offer["codec"] in (*codecs, "float32")
            offer["chunks"] = -(-offer["total_bytes"] // offer["chunk_bytes"])
        seal = self.seal_of(shared, offer["cipher"], request_bytes(request, version) + said)
        return Fetching(request, offer, seal)

    async def send_request(self, peer: str, own: X25519PrivateKey, terms: Body) -> Body:
        await self.say("CLUSTER", request=os.urandom(16).hex(), size=8, minimum=1)
        picked = await self.hear("PEERLIST")
        assert peer in picked["peers"]
        request: Body = {"transfer": os.urandom(16).hex(), "cluster": picked["cluster"], "source": self.id}
        request |= {"destination": peer, "key": own.public_key().public_bytes_raw().hex(), "max_chunk_bytes": 65536}
        request |= {"public_key": self.public.hex(), "signature": self.key.sign(request_bytes(request, 1)).hex()}
        if self.version == 2:
            request |= {"key_epoch": 0, "terms": sealed_terms(self.request_key(request), terms)}
            request |= {"terms_signature": self.key.sign(request_bytes(request, 2)).hex()}
        await self.say("MODELREQUEST", **request)
        return request

    async def take_chunks(self, fetching: Fetching, most: int) -> None:
        """Take ``count`` chunks, or all that are missing, and grant the credit for them."""
        while most and not fetching.is_whole:
            if len(fetching.payload) + fetching.offer["chunk_bytes"] > fetching.granted < fetching.offer["total_bytes"]:
                await self.say("CREDIT", transfer=fetching.offer["transfer"], up_to_bytes=fetching.next_credit())
            fetching.take(await self.hear_chunk())
            most -= 1

    async def resume(self, fetching: Fetching) -> None:
        offer = fetching.offer
        said = {"transfer": offer["transfer"], "sender": offer["source"], "receiver": self.id}
        said |= {"total_bytes": offer["total_bytes"], "chunk_bytes": offer["chunk_bytes"]}
        await self.say("RESUME", **said, position_bytes=len(fetching.payload), up_to_bytes=fetching.next_credit())

    async def finish(self, fetching: Fetching) -> bytes:
        await self.take_chunks(fetching, fetching.offer["chunks"])
        assert blake3(fetching.payload).hexdigest() == fetching.offer["digest"]
        await self.say("DONE", transfer=fetching.offer["transfer"])
        return bytes(fetching.payload)

    # As a sender.

    async def give(self, payload: bytes, codec: str, model_signature: str, **terms: Any) -> Body:
        """Wait for a request, and give this until the receiver has it whole; return the terms of the request."""
        request = await self.hear("MODELREQUEST")
        own, chunk_bytes = X25519PrivateKey.generate(), min(self.welcome["max_chunk_bytes"], request["max_chunk_bytes"])
        shared = own.exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(request["key"])))
        offer: Body = {"transfer": request["transfer"], "source": self.id, "destination": request["source"]}
        offer |= {"total_bytes": len(payload), "chunk_bytes": chunk_bytes, "public_key": self.public.hex()}
        offer |= {"key": own.public_key().public_bytes_raw().hex()}
        model: Body = {"digest": blake3(payload).hexdigest(), "model_signature": model_signature, "model_version": 1}
        model |= {"cipher": "chacha20-poly1305"}
        asked: Body = {}
        version = 2 if self.version == 2 and request.get("terms") else 1
        if version == 2:
            check_signed(request, request_bytes(request, 2), "terms_signature")
            asked = opened_terms(self.request_key(request), request["terms"])
            model |= {"version": min(2, asked["version"]), "kind": asked["kind"], "codec": codec, **terms}
            offer |= {"key_epoch": 0, "terms": sealed_terms(self.offer_key(shared, request), model)}
        else:
            check_signed(request, request_bytes(request, 1))
            offer |= {**model, "codec": "pickle5", "samples": 10, "accuracy": 0.5}
            offer |= {"chunks": -(-len(payload) // chunk_bytes)}
        said = offer_bytes(offer, version)
        offer["signature"] = self.key.sign(said).hex()
        await self.say("OFFER" if version == 2 else "MODELPARAMETERS", **offer)
        seal = self.seal_of(shared, model["cipher"], request_bytes(request, version) + said)
        await self.send_chunks(offer, payload, seal)
        return asked

    async def send_chunks(self, offer: Body, payload: bytes, seal: AESGCM | ChaCha20Poly1305) -> None:
        granted, chunk_bytes = 0, offer["chunk_bytes"]
        count = -(-len(payload) // chunk_bytes)
        for number in range(count):
            part = payload[number * chunk_bytes :][:chunk_bytes]
            while number * chunk_bytes + len(part) > granted:
                granted = max(granted, (await self.hear("CREDIT"))["up_to_bytes"])
            header = bytes([1, 1, int(number == count - 1), 0])
            header += joined(offer, "source", "destination", "transfer") + struct.pack("!I", number)
            sealed = seal.encrypt(nonce_of(number), part, header + struct.pack("!Q", len(payload)))
            await self.socket.send_bytes(header + sealed)
        while (await self.hear("CREDIT", "DONE"))["type"] != "DONE":
            pass
