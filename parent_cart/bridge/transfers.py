"""The transfers of models: who sends to whom, how far each has come, and how it resumes after a lost link. Pure.

The bridge keeps nothing that the carts could not tell it again: after a restart, or on another bridge, both carts of a
transfer name it with RESUME, and it goes on where the receiver says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from cart_common.wire.chunk import ChunkHeader
from cart_common.wire.messages import (
    Cancel,
    Code,
    Credit,
    Done,
    Message,
    ModelParameters,
    ModelRequest,
    Paused,
    Resume,
    SealedOffer,
)

from .accounts import Accounts
from .budget import STALLED_S
from .credit_grants import CreditGrants
from .rules import Delivery, Limits, Violation
from .transfer import Transfer, TransferState

MOST_NAMED: Final = 4  # times a cart's own limit: in how many transfers others may name it


class Transfers:
    """All transfers of a bridge.

    Args:
        limits: of one cart, and of all together.
        clock: seconds that only grow.
        accounts: those of the carts that are attached now.
        counters: counts what happens, by name.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float], accounts: Accounts, counters: Counter[str]) -> None:
        self.open: dict[str, Transfer] = {}
        self._limits = limits
        self._clock = clock
        self._accounts = accounts
        self._counters = counters
        self._of_cart: dict[str, set[str]] = {}
        self.credit_grants = CreditGrants(limits.max_buffered_bytes, clock, accounts)

    def of_cart(self, cart_id: str) -> list[Transfer]:
        """Return the transfers that a cart is at one end of."""
        return [self.open[transfer_id] for transfer_id in sorted(self._of_cart.get(cart_id, ()))]

    def count_of(self, cart_id: str) -> int:
        """Return in how many transfers a cart's account takes part; those that only the others have named do not count.

        A transfer between two of its carts counts twice.
        """
        return sum(
            own not in self.open[transfer_id].awaited
            for own in self._accounts.carts_beside(cart_id)
            for transfer_id in self._of_cart.get(own, ())
        )

    def is_busy(self, cart_id: str) -> bool:
        """Tell whether a cart has a transfer under way; those that wait for a lost link do not count."""
        return any(not transfer.awaited for transfer in self.of_cart(cart_id))

    # A transfer's life.

    def request(self, message: ModelRequest) -> list[Delivery]:
        """Open a transfer.

        Raises:
            Violation: if its id is taken.
        """
        if message.transfer in self.open:
            raise Violation(Code.UNEXPECTED_MESSAGE, f"Transfer id {message.transfer} is taken.")
        most = self._limits.max_transfers_per_cart
        if message.destination not in self._accounts:
            return self.refuse(message.source, message.transfer, Code.PEER_LEFT, "The other cart has left the bridge.")
        if self.count_of(message.source) >= most or self.count_of(message.destination) >= most:
            sentence = f"One of the carts has {most} open transfers."
            return self.refuse(message.source, message.transfer, Code.TOO_MANY_TRANSFERS, sentence)
        self._keep(Transfer(message.transfer, message.destination, message.source, self._clock()))
        return self._tell(message.destination, message)

    def refuse(self, cart_id: str, transfer_id: str, code: Code, sentence: str) -> list[Delivery]:
        """Tell a cart that a transfer is not opened."""
        self._counters["requests_refused"] += 1
        return self._tell(cart_id, Cancel(transfer_id, code, sentence))

    def offer(self, cart_id: str, message: SealedOffer | ModelParameters) -> list[Delivery]:
        """Take the sender's offer.

        Raises:
            Violation: if the cart is not the sender, or this bridge does not accept chunks of that size.
        """
        transfer = self._running(cart_id, message.transfer)
        if transfer is None:
            return []
        ends = (message.source, message.destination)
        if ends != (transfer.sender, transfer.receiver) or message.source != cart_id:
            raise Violation(Code.WRONG_SOURCE, f"Transfer {transfer.transfer_id} is not between these two carts.")
        wrong_chunks = self._limits.chunk_size_error(message.chunk_bytes)
        if wrong_chunks:
            raise Violation(Code.BAD_OFFER, wrong_chunks)
        transfer.move_to(TransferState.OFFERED, message.KIND)
        if isinstance(message, ModelParameters):
            self._counters["offers_of_version_1"] += 1
        transfer.total_bytes, transfer.chunk_bytes = message.total_bytes, message.chunk_bytes
        return self._tell(transfer.receiver, message)

    def credit(self, cart_id: str, message: Credit) -> list[Delivery]:
        """Take the receiver's credit.

        Raises:
            Violation: if the cart is not the receiver, or the credit comes too early or reaches too far.
        """
        transfer = self._running(cart_id, message.transfer)
        if transfer is None:
            return []
        if cart_id != transfer.receiver:
            raise Violation(Code.WRONG_SOURCE, f"Only the receiver of transfer {transfer.transfer_id} grants credit.")
        transfer.move_to(TransferState.OPEN, message.KIND)
        self._limits.check_window(message.up_to_bytes - transfer.passed_bytes)
        transfer.wanted_bytes = max(transfer.wanted_bytes, message.up_to_bytes)
        return self._tell_credit(transfer) if self.credit_grants.extend(transfer) else []

    def _tell_credit(self, transfer: Transfer) -> list[Delivery]:
        return self._tell(transfer.sender, Credit(transfer.transfer_id, transfer.granted_bytes))

    def note_waiting(self, cart_id: str, waiting_bytes: int) -> list[Delivery]:
        """Take note of how many bytes wait for a cart now; return the credit that has room now."""
        self.credit_grants.note_waiting(cart_id, waiting_bytes)
        return self._release(cart_id)

    def note_gone(self, cart_id: str) -> list[Delivery]:
        """Take note that nothing waits any more for a cart whose link is gone; return the credit that has room now."""
        self.credit_grants.budget.drop(cart_id)
        return self._release()

    def _release(self, cart_id: str = "") -> list[Delivery]:
        """Return the messages about credit that has room now; a cart that has just drained comes first."""
        if not self.credit_grants.short:
            return []
        own = [self.open[transfer_id] for transfer_id in self._of_cart.get(cart_id, ())]
        return [delivery for transfer in self.credit_grants.release(own) for delivery in self._tell_credit(transfer)]

    def stalled(self) -> list[str]:
        """Return the carts for which bytes wait, of which they have drained none for long, while others need the room.

        Their links are to be broken; the transfers then wait for them to come back.
        """
        if not self.credit_grants.short:
            return []
        budget = self.credit_grants.budget
        return [cart_id for cart_id in budget.stalled() if budget.waiting[cart_id]]

    def route(self, cart_id: str, header: ChunkHeader, payload_bytes: int) -> Transfer | None:
        """Return the transfer that a chunk belongs to, or None to drop the chunk.

        Raises:
            Violation: for a foreign source, a chunk of another size than offered, or one beyond the receiver's
                credit.
        """
        if header.source.hex() != cart_id:
            raise Violation(Code.WRONG_SOURCE, f"A chunk names {header.source.hex()} as its source.")
        transfer = self.open.get(header.transfer.hex())
        if transfer is not None and (transfer.sender != cart_id or transfer.receiver != header.destination.hex()):
            raise Violation(Code.WRONG_SOURCE, f"Transfer {transfer.transfer_id} is not between these two carts.")
        if transfer is None or transfer.awaited or (transfer.resumed and not transfer.is_due(header)):
            # Normal after a cancel or a lost link: chunks were still under way.
            self._counters["chunks_dropped"] += 1
            return None
        if not transfer.chunk_bytes:
            raise Violation(Code.BAD_CHUNK, f"A chunk of transfer {transfer.transfer_id} comes before its offer.")
        due_bytes = min(transfer.chunk_bytes, transfer.total_bytes - transfer.passed_bytes)
        if payload_bytes != due_bytes:
            # Also keeps a sender from filling a window with millions of tiny frames.
            raise Violation(Code.BAD_CHUNK, f"A chunk has {payload_bytes} bytes; its offer says {due_bytes}.")
        end = transfer.passed_bytes + payload_bytes
        if end > transfer.granted_bytes and transfer.resumed:
            # Sent under credit from before the lost link; there is no room now, and it will be sent again.
            self._counters["chunks_dropped"] += 1
            return None
        if end > transfer.granted_bytes:
            raise Violation(
                Code.OVERRUN,
                f"A chunk ends at byte {end} of transfer {transfer.transfer_id}; "
                f"credit reaches {transfer.granted_bytes}.",
            )
        self.credit_grants.pass_on(transfer, payload_bytes)
        transfer.touched_at = self._clock()
        return transfer

    def finish(self, cart_id: str, message: Cancel | Done) -> list[Delivery]:
        """End a transfer as one of its carts wants.

        Raises:
            Violation: if the transfer is between other carts, or a sender says DONE.
        """
        transfer = self._known(cart_id, message.transfer)
        if transfer is None:
            self._counters["messages_too_late"] += 1
            return []
        if isinstance(message, Done) and cart_id != transfer.receiver:
            raise Violation(Code.WRONG_SOURCE, f"Only the receiver of transfer {transfer.transfer_id} says DONE.")
        self._counters["transfers_done" if isinstance(message, Done) else "transfers_cancelled"] += 1
        self._forget(transfer)
        return self._tell(transfer.other_than(cart_id), message)

    # Lost links.

    def pause(self, cart_id: str) -> list[Delivery]:
        """Keep the transfers of a cart whose link is lost, and tell the other carts; those not offered yet end."""
        told: list[Delivery] = []
        for transfer in self.of_cart(cart_id):
            other = transfer.other_than(cart_id)
            transfer.awaited.add(cart_id)
            if other in transfer.awaited:
                # Without both carts it is not kept: both will name it again.
                self._forget(transfer)
            elif transfer.state is TransferState.REQUESTED:
                told += self._end(transfer, Code.PEER_LEFT, "The other cart has lost its link.", (other,))
            else:
                transfer.touched_at = self._clock()
                # Nothing comes meanwhile: what was promised gives room to others.
                self.credit_grants.take_back(transfer)
                told += self._tell(other, Paused(transfer.transfer_id))
        return told

    def remind(self, cart_id: str) -> list[Delivery]:
        """Tell a cart that has attached which transfers wait for it: it cancels those that it has forgotten."""
        awaiting = [transfer for transfer in self.of_cart(cart_id) if cart_id in transfer.awaited]
        return [Delivery(cart_id, Paused(transfer.transfer_id)) for transfer in awaiting]

    def resume(self, cart_id: str, message: Resume, may_claim: Callable[[], bool]) -> list[Delivery]:
        """Resume a transfer; chunks pass when both carts have resumed it.

        Args:
            cart_id: the cart that resumes it.
            message: its RESUME.
            may_claim: called before an unknown transfer is accepted from a cart.

        Raises:
            Violation: if the transfer is between other carts, or the credit reaches too far.
        """
        if cart_id not in (message.sender, message.receiver) or message.sender == message.receiver:
            raise Violation(
                Code.WRONG_SOURCE, f"RESUME of transfer {message.transfer} is not of this cart and another."
            )
        told: list[Delivery] = []
        transfer = self.open.get(message.transfer)
        if transfer is not None and cart_id not in (transfer.sender, transfer.receiver):
            return self.refuse(cart_id, message.transfer, Code.WRONG_SOURCE, "This transfer is between other carts.")
        if transfer is not None and cart_id not in transfer.awaited:
            # Each RESUME sends the sender back: once for each lost link is enough.
            self._counters["messages_too_late"] += 1
            return []
        if transfer is None:
            other = message.sender if cart_id == message.receiver else message.receiver
            if not self._has_place_for(cart_id, other) or not may_claim():
                sentence = "This bridge takes up no such transfer now."
                return self.refuse(cart_id, message.transfer, Code.TOO_MANY_TRANSFERS, sentence)
            wrong_chunks = self._limits.chunk_size_error(message.chunk_bytes)
            if wrong_chunks:
                return self.refuse(cart_id, message.transfer, Code.BAD_OFFER, wrong_chunks)
            transfer = self._claimed(message)
            told += self._tell(transfer.other_than(cart_id), Paused(message.transfer))
        shape = (message.sender, message.receiver, message.total_bytes, message.chunk_bytes)
        if shape != (transfer.sender, transfer.receiver, transfer.total_bytes, transfer.chunk_bytes):
            # The bridge cannot tell which of the two is wrong.
            sentence = "The two carts do not say the same of this transfer."
            return self._end(transfer, Code.BAD_OFFER, sentence, (transfer.sender, transfer.receiver))
        if cart_id == transfer.receiver:
            self._go_on_from(transfer, message)
        transfer.awaited.discard(cart_id)
        transfer.resumed, transfer.touched_at = True, self._clock()
        if transfer.awaited:
            return told + self._tell(cart_id, Paused(message.transfer))
        self.credit_grants.extend(transfer)
        position, granted = transfer.passed_bytes, transfer.granted_bytes
        return self._tell(transfer.sender, Resume(message.transfer, *shape, position, granted))

    def _has_place_for(self, cart_id: str, other: str) -> bool:
        """Tell whether a cart may name a transfer with another one."""
        most = self._limits.max_transfers_per_cart
        return self.count_of(cart_id) < most and len(self._of_cart.get(other, ())) < MOST_NAMED * most

    def _claimed(self, message: Resume) -> Transfer:
        transfer = Transfer(message.transfer, message.sender, message.receiver, self._clock(), TransferState.OFFERED)
        transfer.total_bytes, transfer.chunk_bytes = message.total_bytes, message.chunk_bytes
        # Nothing passes, and nothing counts against the other cart, until it names the transfer, too.
        transfer.awaited = {message.sender, message.receiver}
        self._keep(transfer)
        return transfer

    def _go_on_from(self, transfer: Transfer, message: Resume) -> None:
        position, up_to = message.position_bytes, message.up_to_bytes
        if position > transfer.total_bytes or (position % transfer.chunk_bytes and position != transfer.total_bytes):
            raise Violation(Code.BAD_OFFER, f"RESUME of transfer {transfer.transfer_id} goes on at byte {position}.")
        self._limits.check_window(up_to - position)
        # Never less than before, as chunks under that credit may be under way; never more than a window.
        transfer.wanted_bytes = min(max(transfer.wanted_bytes, up_to), position + self._limits.max_window_bytes)
        if transfer.wanted_bytes:
            transfer.move_to(TransferState.OPEN, message.KIND)
        self.credit_grants.start_at(transfer, position)

    # Ends.

    def leave(self, cart_id: str) -> list[Delivery]:
        """End the transfers of a cart that leaves for good.

        Those that wait for it go on: it has not resumed them here, so it may resume them at another bridge.
        """
        told: list[Delivery] = []
        for transfer in self.of_cart(cart_id):
            other = transfer.other_than(cart_id)
            if cart_id in transfer.awaited and other not in transfer.awaited:
                continue
            told += self._end(transfer, Code.PEER_LEFT, "The other cart has left the bridge.", (other,))
        return told

    def expire(self) -> list[Delivery]:
        """End the transfers that were idle for too long, and give their room to others."""
        now, told = self._clock(), []
        for transfer in list(self.open.values()):
            both = (transfer.sender, transfer.receiver)
            silent_s = now - transfer.touched_at
            if transfer.awaited and silent_s > self._limits.resume_timeout_s:
                sentence = f"The other cart did not come back within {self._limits.resume_timeout_s:g} s."
                told += self._end(transfer, Code.PEER_LEFT, sentence, both)
            elif not transfer.awaited and silent_s > self._limits.transfer_idle_s:
                sentence = f"Nothing came for {self._limits.transfer_idle_s:g} s."
                told += self._end(transfer, Code.TIMED_OUT, sentence, both)
        told += self._end_unused()
        return told + [each for one in self.credit_grants.look_through() for each in self._tell_credit(one)]

    def _end_unused(self) -> list[Delivery]:
        """End the transfers that hold credit of which no chunk has used any for long, while others need the room."""
        budget = self.credit_grants.budget
        budget.forget_idle()
        if not self.credit_grants.short:
            return []
        sentence = f"No chunk came under the credit of this transfer for {STALLED_S:g} s, and others need the room."
        told: list[Delivery] = []
        for cart_id in budget.stalled():
            for transfer in self.of_cart(cart_id):
                holds = transfer.receiver == cart_id and transfer.granted_bytes > transfer.passed_bytes
                if holds and not budget.waiting[cart_id]:
                    told += self._end(transfer, Code.TIMED_OUT, sentence, (transfer.sender, transfer.receiver))
        return told

    def _end(self, transfer: Transfer, code: Code, sentence: str, to: tuple[str, ...]) -> list[Delivery]:
        self._counters["transfers_cancelled"] += 1
        self._forget(transfer)
        cancel = Cancel(transfer.transfer_id, code, sentence)
        return [delivery for cart_id in to for delivery in self._tell(cart_id, cancel)]

    def _keep(self, transfer: Transfer) -> None:
        self.open[transfer.transfer_id] = transfer
        for cart_id in (transfer.sender, transfer.receiver):
            self._of_cart.setdefault(cart_id, set()).add(transfer.transfer_id)

    def _forget(self, transfer: Transfer) -> None:
        del self.open[transfer.transfer_id]
        self.credit_grants.take_back(transfer)
        for cart_id in (transfer.sender, transfer.receiver):
            self._of_cart[cart_id].discard(transfer.transfer_id)
            if not self._of_cart[cart_id]:
                del self._of_cart[cart_id]

    # Which messages about a transfer count.

    def _known(self, cart_id: str, transfer_id: str) -> Transfer | None:
        """Return the transfer that a message is about, or None if this bridge does not know it (any more)."""
        transfer = self.open.get(transfer_id)
        if transfer is not None and cart_id not in (transfer.sender, transfer.receiver):
            raise Violation(Code.WRONG_SOURCE, f"Transfer {transfer_id} is between other carts.")
        return transfer

    def _running(self, cart_id: str, transfer_id: str) -> Transfer | None:
        """Return the transfer that a message is about, or None if the message came after its end or a lost link."""
        transfer = self._known(cart_id, transfer_id)
        if transfer is None or cart_id in transfer.awaited:
            self._counters["messages_too_late"] += 1
            return None
        transfer.touched_at = self._clock()
        return transfer

    def _tell(self, cart_id: str, message: Message) -> list[Delivery]:
        return [Delivery(cart_id, message)] if cart_id in self._accounts else []
