"use strict";
const $ = id => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

// The state of the page. `job`: the recording that was sent, `result`: of the one that is shown.
const page = { options: null, recording: null, job: null, result: null, channel: 0, side: "after", turn: 0, pictures: {} };

function say(text) { $("status").textContent = text; }
function fail(text) { $("error").textContent = text; $("error").hidden = !text; }
const sentence = answer => answer.hint ? `${answer.error} (${answer.hint})` : answer.error;

async function ask(path, settings = {}) {
  let response;
  try { response = await fetch(path, settings); }
  catch { throw new Error("the server does not answer: is vae-se demo still running?"); }
  const answer = await response.json();
  if (!response.ok) throw Object.assign(new Error(sentence(answer)), { status: response.status });
  return answer;
}

// ---------------------------------------------------------------- the recording

function size(bytes) { return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`; }

function take(blob, name) {
  fail("");
  if (blob.size > page.options.max_upload) return fail(`${name} is larger than ${size(page.options.max_upload)}: use vae-se enhance, or start vae-se demo with a larger --max-upload`);
  page.recording = { blob, name };
  $("chosen").textContent = `${name}, ${size(blob.size)}`;
  $("enhance").disabled = false;
}

// A WAV, 16 bits, from channels of samples.
function wav(channels, rate) {
  const count = channels.length, length = channels[0].length;
  const view = new DataView(new ArrayBuffer(44 + 2 * count * length));
  const text = (at, word) => [...word].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, view.byteLength - 8, true); text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, count, true);
  view.setUint32(24, rate, true); view.setUint32(28, 2 * count * rate, true);
  view.setUint16(32, 2 * count, true); view.setUint16(34, 16, true);
  text(36, "data"); view.setUint32(40, 2 * count * length, true);
  for (let t = 0, at = 44; t < length; t++)
    for (let c = 0; c < count; c++, at += 2)
      view.setInt16(at, Math.max(-32768, Math.min(32767, Math.round(channels[c][t] * 32768))), true);
  return new Blob([view], { type: "audio/wav" });
}

const microphone = { context: null, stream: null, blocks: [], timer: 0 };

async function startRecording() {
  fail("");
  if (!navigator.mediaDevices) return fail("the browser gives the microphone only to a page of this computer (localhost) or to https");
  try {
    // The browser's own noise reduction would come before ours.
    microphone.stream = await navigator.mediaDevices.getUserMedia({ audio: { noiseSuppression: false, echoCancellation: false, autoGainControl: false } });
  } catch (error) { return fail(`no microphone: ${error.message}`); }
  const context = microphone.context = new AudioContext();
  await context.audioWorklet.addModule("recorder.js");
  const node = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
  microphone.blocks = [];
  node.port.onmessage = event => microphone.blocks.push(event.data);
  context.createMediaStreamSource(microphone.stream).connect(node);
  const since = performance.now();
  $("record").classList.add("recording");
  microphone.timer = setInterval(() => { $("record-text").textContent = `Stop (${((performance.now() - since) / 1000).toFixed(0)} s)`; }, 200);
  $("record-text").textContent = "Stop";
}

function stopRecording() {
  clearInterval(microphone.timer);
  microphone.stream.getTracks().forEach(track => track.stop());
  const rate = microphone.context.sampleRate;
  microphone.context.close();
  microphone.context = null;
  $("record").classList.remove("recording");
  $("record-text").textContent = "Record";
  const length = microphone.blocks.reduce((sum, block) => sum + block.length, 0);
  if (!length) return fail("nothing was recorded");
  const samples = new Float32Array(length);
  let at = 0;
  for (const block of microphone.blocks) { samples.set(block, at); at += block.length; }
  take(wav([samples], rate), "microphone.wav");
}

// What the server cannot read (m4a, mp4, webm) the browser often can.
async function decoded(blob) {
  const context = new OfflineAudioContext(1, 1, 48000);
  const sound = await context.decodeAudioData(await blob.arrayBuffer());
  return wav(Array.from({ length: sound.numberOfChannels }, (_, c) => sound.getChannelData(c)), sound.sampleRate);
}

// ---------------------------------------------------------------- the work

function send(blob) {
  const query = new URLSearchParams({ preset: $("preset").value, noise: $("noise").value, atten_lim_db: $("atten").value });
  return ask(`api/jobs?${query}`, { method: "POST", body: blob, headers: { "Content-Type": "application/octet-stream" } });
}

function forget(job) {
  if (job) fetch(`api/jobs/${job.id}`, { method: "DELETE", keepalive: true }).catch(() => {});
}

function busy(is) {
  $("work").hidden = !is;
  $("enhance").disabled = is || !page.recording;
  $("cancel").disabled = false;
}

async function enhance() {
  const turn = ++page.turn, { blob, name } = page.recording;
  fail("");
  busy(true);
  $("state").textContent = "sending";
  $("progress").removeAttribute("value");
  try {
    let job;
    try { job = await send(blob); }
    catch (error) {
      if (error.status !== 400) throw error;
      const sound = await decoded(blob).catch(() => { throw error; });
      if (sound.size > page.options.max_upload) throw error;
      job = await send(sound);
    }
    page.job = job;
    while (job.status === "waiting" || job.status === "running") {
      if (turn !== page.turn) return forget(job);
      showProgress(job);
      await new Promise(done => setTimeout(done, job.elapsed > 20 ? 1000 : 250));
      job = await ask(`api/jobs/${job.id}`);
    }
    if (turn !== page.turn) return forget(job);
    if (job.status === "failed") throw new Error(sentence(job));
    if (page.result) forget(page.result);
    show(job, name);
  } catch (error) {
    if (turn === page.turn) fail(error.message);
  }
  if (turn === page.turn) busy(false);
}

function showProgress(job) {
  if (job.status === "waiting") {
    $("state").textContent = job.ahead ? `waiting for ${job.ahead} before it` : "waiting";
    return;
  }
  if (!job.progress) { $("state").textContent = "reading"; return; }
  $("progress").value = job.progress;
  const left = job.elapsed / job.progress * (1 - job.progress);
  $("state").textContent = `${Math.round(100 * job.progress)} %` + (job.elapsed > 2 ? `, ${duration(left)} left` : "");
}

function duration(seconds) { return seconds < 60 ? `${Math.ceil(seconds)} s` : `${Math.floor(seconds / 60)} min ${Math.ceil(seconds % 60)} s`; }

function cancel() {
  page.turn++;
  forget(page.job);
  busy(false);
  say("cancelled");
}

// ---------------------------------------------------------------- the player
// One stereo file holds before (left) and after (right): a switch changes gains, and the position stays.

const player = { context: null, gains: null };
const GAINS = { before: [1, 0], after: [0, 1], removed: [1, -1] };

function wire() {
  if (player.context) return;
  const context = player.context = new AudioContext();
  const split = context.createChannelSplitter(2), sum = context.createGain();
  sum.channelCount = 1; sum.channelCountMode = "explicit";
  context.createMediaElementSource($("media")).connect(split);
  player.gains = [0, 1].map(channel => {
    const gain = context.createGain();
    split.connect(gain, channel);
    gain.connect(sum);
    return gain;
  });
  sum.connect(context.destination);
  GAINS[page.side].forEach((value, channel) => { player.gains[channel].gain.value = value; });
}

function choose(side) {
  page.side = side;
  for (const button of $("switch").children) {
    const on = button.dataset.side === side;
    button.setAttribute("aria-checked", on);
    button.tabIndex = on ? 0 : -1;
  }
  if (player.gains) GAINS[side].forEach((value, channel) => {
    player.gains[channel].gain.setTargetAtTime(value, player.context.currentTime, 0.008);
  });
}

async function toggle() {
  const media = $("media");
  if (!media.paused) return media.pause();
  wire();
  await player.context.resume();
  await media.play();
}

function seek(seconds) {
  $("media").currentTime = Math.max(0, Math.min(seconds, page.result.result.seconds - 0.01));
  showTime();
}

function clock(seconds) { return `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`; }

function showTime() {
  if (!page.result) return;
  const at = $("media").currentTime, all = page.result.result.seconds;
  $("time").textContent = `${clock(at)} / ${clock(all)}`;
  if (document.activeElement !== $("seek") || !$("media").paused) $("seek").value = at;
  for (const cursor of document.querySelectorAll(".cursor")) cursor.style.left = `${100 * Math.min(1, at / all)}%`;
}

function follow() {
  showTime();
  if (!$("media").paused) requestAnimationFrame(follow);
}

// ---------------------------------------------------------------- the pictures

const ANCHORS = [[6, 5, 18], [40, 15, 84], [101, 26, 110], [160, 42, 99], [212, 72, 66], [245, 125, 21], [250, 193, 39], [252, 255, 164]];
const PALETTE = Array.from({ length: 256 }, (_, value) => {
  const at = value / 255 * (ANCHORS.length - 1), i = Math.min(Math.floor(at), ANCHORS.length - 2);
  return ANCHORS[i].map((low, c) => Math.round(low + (at - i) * (ANCHORS[i + 1][c] - low)));
});

const TITLES = {
  noisy: ["Before", "the recording"],
  enhanced: ["After", "the enhanced speech"],
  noise: ["Estimated noise", "its variance in the model"],
  uncertainty: ["Uncertainty", "posterior variance of the speech"],
};

function paint(canvas, bytes, columns, bins) {
  canvas.width = columns; canvas.height = bins;
  const context = canvas.getContext("2d"), image = context.createImageData(columns, bins);
  for (let x = 0; x < columns; x++)
    for (let f = 0; f < bins; f++) {
      const colour = PALETTE[bytes[x * bins + f]], at = 4 * ((bins - 1 - f) * columns + x);
      image.data[at] = colour[0]; image.data[at + 1] = colour[1]; image.data[at + 2] = colour[2]; image.data[at + 3] = 255;
    }
  context.putImageData(image, 0, 0);
}

// Round numbers from 0 to at most `end`, about `count` of them.
function ticks(end, count) {
  const rough = end / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(factor => factor * power).find(value => value >= rough);
  return Array.from({ length: Math.floor(end / step + 1e-9) + 1 }, (_, i) => i * step);
}

function plot(kind, bytes) {
  const { columns, bins, seconds, highest, range_db, top_db } = page.result.result;
  const top = top_db[page.channel];
  const canvas = make("canvas", { role: "img", "aria-label": `Spectrogram: ${TITLES[kind][1]}` });
  paint(canvas, bytes, columns, bins);
  const area = make("div", { class: "area" }, canvas, make("div", { class: "cursor" }));
  const where = event => {
    const box = area.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top].map((value, i) => Math.max(0, Math.min(0.9999, value / [box.width, box.height][i])));
  };
  area.addEventListener("click", event => seek(where(event)[0] * seconds));
  area.addEventListener("mousemove", event => {
    const [x, y] = where(event), value = bytes[Math.floor(x * columns) * bins + Math.floor((1 - y) * bins)];
    const level = value ? `${(top + (value / 255 - 1) * range_db).toFixed(0)} dB` : `below ${(top - range_db).toFixed(0)} dB`;
    $("readout").textContent = `${TITLES[kind][0]}: ${(x * seconds).toFixed(2)} s, ${((1 - y) * highest / 1000).toFixed(2)} kHz, ${level}`;
  });
  const vertical = make("div", { class: "axis y", "aria-hidden": "true" });
  const high = ticks(highest / 1000, 4).reverse();
  for (const value of high) vertical.append(label(`${value}${value === high[0] ? " kHz" : ""}`, "top", 1 - value * 1000 / highest));
  const horizontal = make("div", { class: "axis x", "aria-hidden": "true" });
  const times = ticks(seconds, 5);
  for (const value of times) {
    const mark = label(`${+value.toPrecision(6)}${value === times.at(-1) ? " s" : ""}`, "left", value / seconds);
    if (value / seconds > 0.96) mark.className = "last";
    horizontal.append(mark);
  }
  const [title, words] = TITLES[kind];
  return make("figure", { "data-kind": kind }, make("figcaption", {}, make("b", {}, title), `, ${words}`), make("div", { class: "plot" }, vertical, area, horizontal));
}

function label(text, side, part) {
  const mark = make("span", {}, text);
  mark.style[side] = `${100 * part}%`;
  return mark;
}

async function draw() {
  const job = page.result, channel = page.channel;
  const kinds = job.result.kinds.filter((_, i) => i < 2 || job.result.posterior[channel]);
  const bytes = await Promise.all(kinds.map(async kind => {
    const response = await fetch(`api/jobs/${job.id}/picture/${channel}/${kind}`);
    if (!response.ok) throw new Error("a picture is missing");
    return new Uint8Array(await response.arrayBuffer());
  }));
  if (page.result !== job || page.channel !== channel) return;
  $("pictures").replaceChildren(...kinds.map((kind, i) => plot(kind, bytes[i])));
  const top = job.result.top_db[channel];
  $("scale-text").textContent = `${(top - job.result.range_db).toFixed(0)} to ${top.toFixed(0)} dB, the same in all pictures`;
  showTime();
}

function scale() {
  const context = $("scale").getContext("2d"), image = context.createImageData(256, 1);
  PALETTE.forEach((colour, i) => image.data.set([...colour, 255], 4 * i));
  context.putImageData(image, 0, 0);
}

// ---------------------------------------------------------------- the result

function show(job, name) {
  page.result = job;
  const { seconds, rate, channels, computing, warnings } = job.result;
  $("result").hidden = false;
  $("result-title").textContent = name;
  $("facts").textContent = `${clock(seconds)}, ${rate / 1000} kHz, ${channels === 1 ? "1 channel" : `${channels} channels`}; computed in ${computing.toFixed(1)} s`;
  $("download").href = `api/jobs/${job.id}/enhanced`;
  $("download").download = `${name.replace(/\.[^.]*$/, "")}_enhanced.wav`;
  $("warnings").replaceChildren(...warnings.map(text => make("li", {}, text)));
  $("warnings").hidden = !warnings.length;
  $("channel").replaceChildren(...Array.from({ length: channels }, (_, c) => make("option", { value: c }, c + 1)));
  $("channel-label").hidden = channels === 1;
  $("seek").max = seconds;
  pick(0);
  choose(page.side);
  say("the recording is enhanced");
  $("result").scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth", block: "nearest" });
}

function pick(channel) {
  const media = $("media"), playing = !media.paused, at = media.currentTime;
  const same = page.shown === page.result.id;
  page.channel = channel;
  page.shown = page.result.id;
  media.src = `api/jobs/${page.result.id}/listen/${channel}`;
  if (same) {
    media.currentTime = at;
    if (playing) media.play();
  }
  draw().catch(error => fail(error.message));
}

async function start() {
  scale();
  const options = page.options = await ask("api/options");
  $("version").textContent = options.version;
  const fill = (id, words) => $(id).append(...Object.entries(words).map(([value, text]) => make("option", { value }, text)));
  fill("preset", options.presets);
  fill("noise", options.noise);
  $("preset").value = "default";
  $("atten").append(...options.atten_lim_db.map(value => make("option", { value }, `${value} dB`)));
  $("example").hidden = !options.example;
  $("choose").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => { const file = $("file").files[0]; if (file) take(file, file.name); $("file").value = ""; });
  $("record").addEventListener("click", () => { if (microphone.context) stopRecording(); else startRecording().catch(error => fail(error.message)); });
  $("example").addEventListener("click", async () => {
    const response = await fetch("example.wav");
    take(await response.blob(), "example.wav");
  });
  $("enhance").addEventListener("click", enhance);
  $("cancel").addEventListener("click", cancel);
  $("play").addEventListener("click", () => toggle().catch(error => fail(error.message)));
  $("seek").addEventListener("input", () => seek(+$("seek").value));
  $("loop").addEventListener("change", () => { $("media").loop = $("loop").checked; });
  $("channel").addEventListener("change", () => pick(+$("channel").value));
  for (const button of $("switch").children) button.addEventListener("click", () => choose(button.dataset.side));
  const media = $("media");
  const pressed = () => { $("play").textContent = media.paused ? "Play" : "Pause"; $("play").setAttribute("aria-pressed", !media.paused); };
  media.addEventListener("play", () => { pressed(); follow(); });
  media.addEventListener("pause", pressed);
  media.addEventListener("ended", () => { media.currentTime = 0; showTime(); });
  media.addEventListener("seeked", showTime);
  media.addEventListener("error", () => { if (media.src && page.result) fail("the browser cannot play the recording"); });
  for (const [kind, over] of [["dragover", true], ["dragleave", false], ["drop", false]])
    document.addEventListener(kind, event => { event.preventDefault(); $("drop").classList.toggle("over", over); });
  document.addEventListener("drop", event => { const file = event.dataTransfer.files[0]; if (file) take(file, file.name); });
  document.addEventListener("keydown", event => {
    if (!page.result || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("select, input:not([type=range])")) return;
    const sides = ["before", "after", "removed"], inSwitch = event.target.closest?.("#switch");
    if (event.key === " " && !event.target.matches("button, a")) toggle().catch(error => fail(error.message));
    else if (["1", "2", "3"].includes(event.key)) choose(sides[event.key - 1]);
    else if (inSwitch && ["ArrowLeft", "ArrowRight"].includes(event.key)) {
      choose(sides[(sides.indexOf(page.side) + (event.key === "ArrowRight" ? 1 : 2)) % 3]);
      $("switch").querySelector("[aria-checked=true]").focus();
    }
    else if (event.key === "ArrowLeft") seek($("media").currentTime - 1);
    else if (event.key === "ArrowRight") seek($("media").currentTime + 1);
    else return;
    event.preventDefault();
  });
  addEventListener("pagehide", event => { if (!event.persisted) { forget(page.result); if (page.job !== page.result) forget(page.job); } });
}

start().catch(error => fail(error.message));
