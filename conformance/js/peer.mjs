// A js-libp2p node that does what it is told: one JSON order per line on stdin, one answer per line on stdout.
//
// usage: node peer.mjs DHT_PROTOCOL
// order: {"id", "do", ...}   answer: {"id", "ok"} or {"id", "error"}   unasked: {"event": "ready" | "message", ...}
// Bytes are hex digits. It ends with its stdin.

import { createInterface } from 'node:readline'

// libp2p 3 wants node 22, of which this is all that 20 lacks.
Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new this((a, b) => { resolve = a; reject = b })
  return { promise, resolve, reject }
}

const { createLibp2p } = await import('libp2p')
const { gossipsub } = await import('@libp2p/gossipsub')
const { identify } = await import('@libp2p/identify')
const { kadDHT, passthroughMapper } = await import('@libp2p/kad-dht')
const { noise } = await import('@libp2p/noise')
const { peerIdFromString } = await import('@libp2p/peer-id')
const { ping } = await import('@libp2p/ping')
const { tcp } = await import('@libp2p/tcp')
const { yamux } = await import('@libp2p/yamux')
const { multiaddr } = await import('@multiformats/multiaddr')
const { CID } = await import('multiformats/cid')
const Digest = await import('multiformats/hashes/digest')

const RAW = 0x55
const hex = (bytes) => Buffer.from(bytes).toString('hex')
const bytes = (text) => new Uint8Array(Buffer.from(text, 'hex'))
const cid = (multihash) => CID.createV1(RAW, Digest.decode(bytes(multihash)))
const say = (line) => process.stdout.write(JSON.stringify(line) + '\n')

const node = await createLibp2p({
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: {
    identify: identify(),
    ping: ping(),
    dht: kadDHT({
      protocol: process.argv[2],
      // On 127.0.0.1 it would be a client and forget every address otherwise.
      clientMode: false,
      peerInfoMapper: passthroughMapper,
      allowQueryWithZeroPeers: true,
      initialQuerySelfInterval: 200,
      validators: { test: async () => {} },
      selectors: { test: () => 0 }
    }),
    pubsub: gossipsub({ allowPublishToZeroTopicPeers: true })
  }
})
const { dht, pubsub } = node.services

const found = async (events, name, pick) => {
  const all = []
  for await (const event of events) {
    if (event.name === name) all.push(pick(event))
  }
  return all.flat()
}

const orders = {
  dial: async ({ addr }) => { await node.dial(multiaddr(addr)) },
  hangup: async ({ peer }) => { await node.hangUp(peerIdFromString(peer)) },
  ping: async ({ peer }) => await node.services.ping.ping(peerIdFromString(peer)),
  identified: async ({ peer }) => {
    const { protocols, metadata } = await node.peerStore.get(peerIdFromString(peer))
    return { protocols, agent: new TextDecoder().decode(metadata.get('AgentVersion')) }
  },
  servers: async () => dht.routingTable.size,
  put: async ({ key, value }) => (await found(dht.put(bytes(key), bytes(value)), 'PEER_RESPONSE', () => 1)).length,
  get: async ({ key }) => {
    for await (const event of dht.get(bytes(key))) {
      if (event.name === 'VALUE') return hex(event.value)
    }
    return null
  },
  provide: async ({ key }) => { for await (const _ of dht.provide(cid(key))) { /* to its end */ } },
  providers: async ({ key }) =>
    await found(dht.findProviders(cid(key)), 'PROVIDER', (event) => event.providers.map(({ id }) => id.toString())),
  closest: async ({ key }) => await found(dht.getClosestPeers(bytes(key)), 'FINAL_PEER', ({ peer }) => peer.id.toString()),
  subscribe: async ({ topic }) => { pubsub.subscribe(topic) },
  publish: async ({ topic, data }) => (await pubsub.publish(topic, bytes(data))).recipients.length,
  mesh: async ({ topic }) => pubsub.getMeshPeers(topic)
}

pubsub.addEventListener('message', ({ detail }) => {
  if (detail.type === 'signed') {
    say({ event: 'message', topic: detail.topic, from: detail.from.toString(), data: hex(detail.data) })
  }
})

const lines = createInterface({ input: process.stdin })
lines.on('line', async (line) => {
  const order = JSON.parse(line)
  try {
    say({ id: order.id, ok: (await orders[order.do](order)) ?? null })
  } catch (error) {
    say({ id: order.id, error: String(error) })
  }
})
lines.on('close', () => process.exit(0))
say({ event: 'ready', peer: node.peerId.toString(), addr: node.getMultiaddrs()[0].toString() })
