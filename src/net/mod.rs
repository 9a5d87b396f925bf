//! Floor 2, `net`: sockets, frames and write queues.
//!
//! What it is: everything between the kernel and a protocol's session. [`mod@listen`] and [`mod@connect`] make sockets with
//! the options that a sidecar needs, [`mod@door`] encrypts what came in, [`mod@stream`] hides what kind of byte stream it is, [`mod@frame`] cuts it into frames,
//! [`mod@write`] sends frames back, `pool` keeps read buffers for the next read.
//!
//! May import: `config`, `metrics`, `telemetry`, `lifecycle`, `dns` and `tls`.
//!
//! Must never: know a protocol, decide about a retry, or believe a length that came from a wire.

pub mod connect;
pub mod door;
pub mod frame;
pub mod listen;
mod pool;
pub mod sockopt;
pub mod stream;
pub mod write;

pub use connect::{ConnectError, ConnectOptions, Connected, Secure, connect, secured};
pub use door::Door;
pub use frame::{FrameError, FrameReader, PREFIX, compact};
pub use listen::{ListenError, ListenOptions, accept, accepted, bind};
pub use pool::recycle;
pub use sockopt::SocketOptions;
pub use stream::Stream;
pub use write::{FrameTooLong, WriteQueue};
