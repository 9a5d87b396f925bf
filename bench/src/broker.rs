//! A broker that answers as fast as it can: its answers are made beforehand, and it keeps nothing.

use crate::frames::Answers;
use crate::reader::Reader;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use testbed::crypt::{self, Crypt};
use testbed::{Error, Result};

/// Answers up to this many bytes together are written with one call.
const TOGETHER: usize = 64 * 1024;

/// Serves until it is killed. `store`: its key and certificate, where it is to be encrypted.
pub(crate) fn serve(listen: SocketAddr, store: Option<&Path>) -> Result<()> {
    let settings = store.map(crypt::server).transpose()?;
    let listener = TcpListener::bind(listen).map_err(Error::io("listening"))?;
    let answers = Answers::new(listen)?;
    for stream in listener.incoming() {
        let stream = stream.map_err(Error::io("accepting"))?;
        let (answers, settings) = (answers.clone(), settings.clone());
        std::thread::spawn(move || {
            let wire = Crypt::accept(stream, settings);
            if let Err(error) = wire.and_then(|mut wire| answer(&mut wire, answers)) {
                eprintln!("broker: {error}");
            }
        });
    }
    Ok(())
}

fn answer(stream: &mut Crypt, mut answers: Answers) -> Result<()> {
    let (mut reader, mut out) = (Reader::new(), Vec::with_capacity(2 * TOGETHER));
    loop {
        if !out.is_empty() && reader.would_read(Answers::needs_whole) {
            stream.write_all(&out).map_err(Error::io("answering"))?;
            out.clear();
        }
        let Some(seen) = reader.next(stream, Answers::needs_whole)? else { return Ok(()) };
        answers.to(seen.bytes, &mut |bytes| {
            if out.len() + bytes.len() <= TOGETHER {
                out.extend_from_slice(bytes);
                return Ok(());
            }
            stream.write_all(&out).and_then(|()| stream.write_all(bytes)).map_err(Error::io("answering"))?;
            out.clear();
            Ok(())
        })?;
    }
}
