// A session of node-zookeeper-client: ephemerals, watches that are set again each time, and three streams of writes. No call
// is repeated (the library's default). The lines that it prints are described in ../README.md.
'use strict'

const zookeeper = require('node-zookeeper-client')
const { micros } = require('../../node/clock.js')

const o = {}
const words = process.argv.slice(2)
for (let i = 0; i + 1 < words.length; i += 2) o[words[i].slice(2)] = words[i + 1]
const root = `/bed/${o.name}`
const pause = 1000 / Number(o.rate)

const line = value => process.stdout.write(JSON.stringify(value) + '\n')
const sleep = ms => new Promise(done => setTimeout(done, ms))
const zxid = buffer => Number(buffer.readBigInt64BE())

let stopped = false
process.stdin.on('data', () => (stopped = true))
process.stdin.on('end', () => stopped || process.exit(1))

const { EPHEMERAL, EPHEMERAL_SEQUENTIAL, PERSISTENT, PERSISTENT_SEQUENTIAL } = zookeeper.CreateMode
const TYPES = {
  [zookeeper.Event.NODE_CREATED]: 'created',
  [zookeeper.Event.NODE_DELETED]: 'deleted',
  [zookeeper.Event.NODE_DATA_CHANGED]: 'changed',
  [zookeeper.Event.NODE_CHILDREN_CHANGED]: 'children'
}

let client
// Watches that die with the session that set them.
let pending = new Set()

/** A call of the library that takes a callback, as a promise of its last argument, or of all of them. */
function ask(method, ...parts) {
  return new Promise((resolve, reject) => {
    client[method](...parts, (error, ...results) => (error ? reject(error) : resolve(results)))
  })
}

/** Makes a session and its ephemeral nodes, as an application does at the beginning and when its session has expired. */
async function open() {
  client = zookeeper.createClient(o.servers, { sessionTimeout: Number(o.timeout), retries: 0 })
  const mine = client
  const words = { SYNC_CONNECTED: 'connected', DISCONNECTED: 'disconnected', EXPIRED: 'expired' }
  const connected = new Promise(done => mine.once('connected', done))
  mine.on('state', state => {
    const what = words[state.name]
    if (!what || stopped) return
    line({ t: 'session', at: micros(), what, id: mine.getSessionId().toString('hex') })
    if (what === 'expired') {
      mine.close()
      for (const drop of pending) drop()
      pending = new Set()
      open()
    }
  })
  mine.connect()
  await connected
  for (const [path, mode] of [['/live/e', EPHEMERAL], ['/live/s-', EPHEMERAL_SEQUENTIAL]]) {
    while (!stopped && client === mine) {
      try {
        const [made] = await ask('create', root + path, Buffer.alloc(0), mode)
        line({ t: 'live', at: micros(), path: made })
        break
      } catch {
        await sleep(100)
      }
    }
  }
}

const arms = {
  data: async told => zxid((await ask('getData', `${root}/watch/data`, told))[1].mzxid),
  child: async told => zxid((await ask('getChildren', `${root}/watch/child`, told))[1].pzxid),
  exist: async told => {
    const [stat] = await ask('exists', `${root}/watch/exist`, told)
    return stat ? zxid(stat.czxid) : 0
  }
}

async function watch(kind) {
  while (!stopped) {
    const sent = micros()
    let drop
    let told
    const event = new Promise(done => {
      told = event => done({ t: 'event', k: kind, at: micros(), e: TYPES[event.type] })
      drop = () => done({ t: 'dropped', k: kind, at: micros() })
    })
    pending.add(drop)
    try {
      line({ t: 'arm', k: kind, z: await arms[kind](told), sent, at: micros() })
      line(await event)
    } catch {
      await sleep(50)
    }
    pending.delete(drop)
  }
}

async function stream(step) {
  let due = performance.now()
  for (let n = 0; !stopped; n++) {
    due = Math.max(due + pause, performance.now() - 1000)
    await sleep(Math.max(0, due - performance.now()))
    await step(n)
  }
}

/** Makes a call and tells of its outcome; null when it failed. */
async function call(head, what) {
  const sent = micros()
  try {
    const result = await what()
    line({ t: 'op', ...head, sent, done: micros(), ...result })
    return result
  } catch (error) {
    const err = error.code !== undefined && error.name ? error.name : 'ProgramError'
    line({ t: 'op', ...head, sent, done: micros(), err, msg: String(error.message) })
    await sleep(20)
    return null
  }
}

let known = null
async function register(n) {
  const path = `${root}/register`
  let result
  if (known === null) {
    result = await call({ s: 'read' }, async () => {
      const [data, stat] = await ask('getData', path)
      return { v: data.toString(), ver: stat.version }
    })
  } else {
    const value = `${o.name}-${n}`
    const base = known
    result = await call({ s: 'set', v: value, base }, async () => {
      const [stat] = await ask('setData', path, Buffer.from(value), base)
      return { ver: stat.version }
    })
  }
  known = result ? result.ver : null
}

async function sequence(n) {
  const value = `${o.name}-${n}`
  await call({ s: 'seq', v: value }, async () => {
    const [path] = await ask('create', `${root}/seq/q-`, Buffer.from(value), PERSISTENT_SEQUENTIAL)
    return { path }
  })
}

async function nodes(n) {
  const path = `${root}/nodes/n-${n}`
  const made = await call({ s: 'create', v: `n-${n}` }, async () => {
    await ask('create', path, Buffer.from('x'), PERSISTENT)
    return {}
  })
  if (made && n % 2 === 0) {
    await call({ s: 'delete', v: `n-${n}` }, async () => {
      await ask('remove', path)
      return {}
    })
  }
}

async function main() {
  await open()
  for (const kind of Object.keys(arms)) watch(kind)
  line({ t: 'ready' })
  await Promise.all([register, sequence, nodes].map(stream))
  client.close()
  // The library tells nobody when the session's end was answered: -2 is its word for closed.
  for (let n = 0; n < 200 && client.connectionManager.state !== -2; n++) await sleep(50)
  line({ t: 'end' })
  process.exit(0)
}

main().catch(error => {
  console.error(error)
  process.exit(1)
})
