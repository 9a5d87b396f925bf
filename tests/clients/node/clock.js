// Microseconds since the epoch, on the clock that every other program of the test bed looks at.
//
// Judges compare what this says with what others say: an event that came before its change was asked for is one without a
// reason. Node.js tells the time of day in whole milliseconds and anything finer on a clock of its own, so that the one is
// read when it goes on, and the other at the same moment. Read one after the other they would be apart by up to a millisecond, and
// by whatever kept the processor busy in between, for as long as the program runs.
'use strict'

/** So close is close enough: nothing gets through two sockets in it. */
const CLOSE = 10_000n
/** After this long the closest that was found has to do. */
const PATIENCE = 200_000_000n

/** What has to be added to the fine clock; too little by at most `CLOSE`, never too much. Both in nanoseconds. */
function offset(millis, nanos) {
  let best
  const start = nanos()
  let last = { millis: millis(), before: start, after: nanos() }
  do {
    const before = nanos()
    const next = { millis: millis(), before, after: nanos() }
    if (next.millis === last.millis + 1) {
      // It went on at some moment between the two.
      const width = next.after - last.before
      if (best === undefined || width < best.width) best = { width, zero: BigInt(next.millis) * 1_000_000n - next.after }
    }
    last = next
  } while ((best === undefined || best.width > CLOSE) && last.after - start < PATIENCE)
  return best === undefined ? BigInt(last.millis) * 1_000_000n - last.after : best.zero
}

const zero = offset(Date.now, process.hrtime.bigint)

/** Now. */
const micros = () => Number((zero + process.hrtime.bigint()) / 1000n)

module.exports = { micros }
