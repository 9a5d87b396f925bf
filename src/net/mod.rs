//! Floor 2, `net`: sockets, frames and write queues.
//!
//! What it is: everything between the kernel and a protocol's session. [`mod@listen`] and [`mod@connect`] make sockets with
//! the options that a sidecar needs, [`mod@door`] encrypts what came in, [`mod@stream`] hides what kind of byte stream it is, [`mod@frame`] cuts it into frames,
//! [`mod@write`] sends frames back, `pool` keeps read buffers for the next read; [`mod@crowd`] bounds how many clients there are,
//! [`mod@patience`] how long one is waited for, and [`mod@turns`] lets silent peers give way.
//!
//! May import: `config`, `metrics`, `telemetry`, `lifecycle`, `dns` and `tls`.
//!
//! Must never: know a protocol, decide about a retry, or believe a length that came from a wire.

pub mod connect;
pub mod crowd;
pub mod door;
pub mod frame;
pub mod listen;
pub mod patience;
mod pool;
pub mod sockopt;
pub mod stream;
pub mod turns;
pub mod write;

pub use connect::{ConnectError, ConnectOptions, ConnectStage, Connected, Secure, connect, secured};
pub use crowd::{Crowd, Entrance, Place, Seldom};
pub use door::Door;
pub use frame::{FrameError, FrameReader, PREFIX, compact};
pub use listen::{ListenError, ListenOptions, accept, accepted, accepts_failed, bind};
pub use patience::{Awaited, Late, Patience};
pub use pool::recycle;
pub use sockopt::SocketOptions;
pub use stream::Stream;
pub use turns::{Turn, Turns};
pub use write::{FrameTooLong, WriteQueue};
