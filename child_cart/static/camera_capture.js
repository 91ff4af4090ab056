// The camera of this device and its photos, as JPEGs in a size at which codes can be read.

const FRAME_SIDE = 1280;
const PHOTO_SIDE = 2000;
const FRAME_QUALITY = 0.8;
const PHOTO_QUALITY = 0.9;

/** Return why this browser gives the page no camera; empty if it does. */
export function whyNoCamera() {
  if (!window.isSecureContext) return "This browser gives pages a camera only over https or on localhost. Take a photo instead.";
  if (!navigator.mediaDevices?.getUserMedia) return "This browser has no camera for pages. Take a photo instead.";
  return "";
}

/** Start this device's camera, the one at the back if there are two; return the stream. */
export async function openCamera(video) {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: { facingMode: "environment", width: { ideal: 1280 }, height: { ideal: 720 } },
    });
  } catch (error) {
    throw new Error(REASONS[error.name] ?? `The camera cannot be used (${error.name}).`);
  }
  video.srcObject = stream;
  try {
    await video.play();
  } catch (error) {
    closeCamera(stream);
    throw new Error(`The camera’s picture cannot be shown (${error.name}).`);
  }
  return stream;
}

const REASONS = {
  NotAllowedError: "The camera was not allowed. Allow it in the browser’s settings of this page, or take a photo instead.",
  NotFoundError: "This device has no camera.",
  NotReadableError: "The camera is in use by another program.",
};

export const closeCamera = (stream) => stream.getTracks().forEach((track) => track.stop());

/** Return the picture that the video shows now. */
export const frameOf = (video) => drawn(video, video.videoWidth, video.videoHeight, FRAME_SIDE, FRAME_QUALITY);

/** Return a photo, scaled down if it is large; unchanged if this browser cannot read it. */
export async function photoOf(file) {
  let picture;
  try {
    picture = await createImageBitmap(file);
  } catch {
    return file;
  }
  return drawn(picture, picture.width, picture.height, PHOTO_SIDE, PHOTO_QUALITY);
}

function drawn(source, width, height, side, quality) {
  const scale = Math.min(1, side / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  canvas.getContext("2d").drawImage(source, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", quality));
}
