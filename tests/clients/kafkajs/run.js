// A plain producer (`produce`) or a member of a group (`consume`) with kafkajs. It speaks the lines that bed.py of the
// Python programs describes. `--settings off` switches the library's retries off.
'use strict'

const { Kafka, logLevel } = require('kafkajs')
const { micros } = require('../node/clock.js')

const [job, ...words] = process.argv.slice(2)
const o = {}
for (let i = 0; i + 1 < words.length; i += 2) o[words[i].slice(2)] = words[i + 1]

const line = value => process.stdout.write(JSON.stringify(value) + '\n')
const named = error => ({ err: error.type || error.name, msg: String(error.message) })

let stopped = false
let wake = () => {}
process.stdin.on('data', () => {
  stopped = true
  wake()
})
process.stdin.on('end', () => stopped || process.exit(1))

const settings = { brokers: o.bootstrap.split(','), logLevel: logLevel.NOTHING }
if (o.settings === 'off') settings.retry = { retries: 0 }
const kafka = new Kafka(settings)

async function produce() {
  const producer = kafka.producer()
  await producer.connect()
  line({ t: 'ready' })
  const partitions = Number(o.partitions)
  const padding = 'x'.repeat(Number(o.padding))
  const start = process.hrtime.bigint()
  const due = () => Math.floor((Number(process.hrtime.bigint() - start) * Number(o.rate)) / 1e9)
  let n = 0
  while (!stopped) {
    // One call at a time, with all that is due: a broker works at one request of a connection at a time, and with one for
    // each record a slow moment would never be made up for.
    const heads = []
    const messages = []
    for (const end = Math.min(due(), n + 100); n < end; n++) {
      const partition = n % partitions
      const seq = Math.floor(n / partitions)
      heads.push({ t: 'r', p: partition, s: seq, sent: micros() })
      messages.push({ partition, key: `${o.id}-${partition}`, value: `${o.id}|${partition}|${seq}|${padding}` })
    }
    if (messages.length > 0) {
      try {
        const offsets = new Map((await producer.send({ topic: o.topic, messages })).map(m => [m.partition, m.baseOffset]))
        for (const head of heads) line({ ...head, done: micros(), off: Number(offsets.get(head.p)) })
      } catch (error) {
        for (const head of heads) line({ ...head, done: micros(), ...named(error) })
      }
    }
    if (n >= due()) await new Promise(done => setTimeout(done, 20))
  }
  await producer.disconnect()
  line({ t: 'end', sent: n })
  process.exit(0)
}

async function consume() {
  const consumer = kafka.consumer({ groupId: o.group })
  const failed = (call, error) => line({ t: 'error', at: micros(), in: call, ...named(error) })
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    line({ t: 'assigned', at: micros(), p: payload.memberAssignment[o.topic] || [] })
  })
  consumer.on(consumer.events.CRASH, ({ payload }) => failed('run', payload.error))
  await consumer.connect()
  await consumer.subscribe({ topic: o.topic, fromBeginning: true })
  await consumer.run({
    eachMessage: async ({ partition, message }) => line({ t: 'r', p: partition, o: Number(message.offset) })
  })
  if (!stopped) await new Promise(done => (wake = done))
  await consumer.disconnect().catch(error => failed('close', error))
  line({ t: 'end' })
  process.exit(0)
}

const jobs = { produce, consume }
jobs[job]().catch(error => {
  console.error(error)
  process.exit(1)
})
