//! The `ZooKeeper` wire format (jute), for a proxy: what clients and servers of 3.4 to 3.9 say to each other.
//!
//! A *frame* here is what follows the four bytes of length, as [`FrameReader`](crate::net::FrameReader) hands it out.
//! What is *built* here for sending carries its length in front. Decoding borrows from the frame and allocates
//! nothing; it accepts exactly what a server's own decoder accepts, since [`Request::decode`] is the shield that keeps
//! from an ensemble what it can't decode.
//!
//! Imports nothing of this crate. Never panics on what it reads, never takes a length from the wire as the size of an
//! allocation, never does any input or output.
//!
//! Sources: `zookeeper.jute`, `BinaryInputArchive`, `MultiOperationRecord`, `ZooDefs` of 3.4.14, 3.8.6 and 3.9.5.

mod acl;
pub mod build;
mod connect;
mod create;
pub mod errors;
mod event;
mod header;
mod jute;
mod multi;
pub mod opcode;
pub mod rearm;
pub mod reply;
mod request;
mod stat;

#[cfg(test)]
pub(in crate::zookeeper) mod tests;

pub use acl::{Acl, AclList};
pub use connect::{ConnectRequest, ConnectResponse};
pub use create::{Create, CreateMode};
pub use event::{EventType, WatchEvent};
pub use header::{
    ReplyHeader, RequestHeader, is_before_first, reply_body, reply_header, request_header, request_payload,
    xid,
};
pub use jute::{Fault, Malformed, Names, Reader, Text, Writer};
pub use multi::{Multi, Op};
pub use request::{Reconfig, Request, WatchLists};
pub use stat::Stat;
