//! Unpacks a request in small steps, with a pause after each: what is packed decides how long it takes, and a stranger packed it.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::GzDecoder;
use minicol_plugin::text;
use zstd::stream::raw::{DParameter, Decoder, Operation};

use crate::{
    body::{Held, too_large},
    refusal::{Kind, Refusal},
};

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    None,
    Gzip,
    Zstd,
}

/// What is understood, for `Accept-Encoding`.
pub(crate) const PACKINGS: &str = "gzip,zstd,identity";

/// So much is unpacked in one step. A step makes at most [`ROOM`] of it; the costliest input (blocks of nothing) takes milliseconds.
const STEP: usize = 4 * 1024;
const ROOM: usize = 64 * 1024;
/// A zstd frame may ask for as much memory as this to be unpacked, as 2^n (8 MiB: what RFC 8878 wants every decoder to have).
const MAX_WINDOW_LOG: u32 = 23;

impl Packing {
    /// By the name that `Content-Encoding` and `grpc-encoding` give it; nothing is none.
    pub(crate) fn named(name: Option<&http::HeaderValue>) -> Result<Self, Refusal> {
        let Some(name) = name else { return Ok(Self::None) };
        match name.as_bytes() {
            b"" | b"identity" => Ok(Self::None),
            name if name.eq_ignore_ascii_case(b"gzip") => Ok(Self::Gzip),
            name if name.eq_ignore_ascii_case(b"zstd") => Ok(Self::Zstd),
            name => {
                let name = text::foreign(&String::from_utf8_lossy(name));
                Err(Refusal::new(Kind::Unsupported, format!("`{name}` is not understood: use gzip, zstd or none")))
            }
        }
    }

    /// Unpacks, but no more than `limit` bytes.
    pub(crate) async fn unpack(self, packed: Bytes, limit: usize, held: &mut Held) -> Result<Bytes, Refusal> {
        match self {
            Self::None => Ok(packed),
            Self::Gzip => drain(Gzip(GzDecoder::new(Vec::new())), &packed, limit, held).await,
            Self::Zstd => drain(Zstd::new().map_err(|error| broken(&error))?, &packed, limit, held).await,
        }
    }
}

/// Unpacks one member or frame. A second one is not begun: it costs a decoder that is made ready anew, and may have twenty bytes that hold nothing.
trait Unpacker {
    /// Takes some of `packed`, and adds what comes of it.
    fn step(&mut self, packed: &[u8], all: &mut Vec<u8>) -> io::Result<Step>;
    /// Adds what is left, and checks the whole. Nothing is left to take.
    fn end(self, all: &mut Vec<u8>) -> io::Result<()>;
}

/// How a step went.
enum Step {
    /// So many bytes were taken.
    Took(usize),
    /// The end was reached before what was given: there is more than one.
    Over,
}

struct Gzip(GzDecoder<Vec<u8>>);

struct Zstd {
    decoder: Decoder<'static>,
    room: Vec<u8>,
    over: bool,
}

async fn drain(
    mut unpacker: impl Unpacker,
    mut packed: &[u8],
    limit: usize,
    held: &mut Held,
) -> Result<Bytes, Refusal> {
    let mut all = Vec::new();
    while !packed.is_empty() {
        let before = all.len();
        match unpacker.step(&packed[..packed.len().min(STEP)], &mut all).map_err(|error| broken(&error))? {
            Step::Took(count) => packed = &packed[count..],
            Step::Over => {
                let why = "the request holds more than one gzip member or zstd frame: pack it as one";
                return Err(Refusal::new(Kind::Invalid, why));
            }
        }
        grown(before, all.len(), limit, held)?;
        tokio::task::yield_now().await;
    }
    let before = all.len();
    unpacker.end(&mut all).map_err(|error| broken(&error))?;
    grown(before, all.len(), limit, held)?;
    Ok(all.into())
}

fn grown(before: usize, now: usize, limit: usize, held: &mut Held) -> Result<(), Refusal> {
    if now > limit {
        return Err(too_large(limit));
    }
    held.grow(now - before)
}

fn broken(error: &io::Error) -> Refusal {
    Refusal::new(Kind::Invalid, format!("the request cannot be unpacked: {}", text::foreign(&error.to_string())))
}

impl Unpacker for Gzip {
    fn step(&mut self, packed: &[u8], all: &mut Vec<u8>) -> io::Result<Step> {
        let took = self.0.write(packed)?;
        all.append(self.0.get_mut());
        Ok(if took == 0 { Step::Over } else { Step::Took(took) })
    }

    fn end(self, all: &mut Vec<u8>) -> io::Result<()> {
        all.append(&mut self.0.finish()?);
        Ok(())
    }
}

impl Zstd {
    fn new() -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG))?;
        Ok(Self { decoder, room: vec![0; ROOM], over: false })
    }

    /// How much it took, and whether there is more to come of it.
    fn run(&mut self, packed: &[u8], all: &mut Vec<u8>) -> io::Result<(usize, bool)> {
        let status = self.decoder.run_on_buffers(packed, &mut self.room)?;
        all.extend_from_slice(&self.room[..status.bytes_written]);
        self.over = status.remaining == 0;
        Ok((status.bytes_read, !self.over && status.bytes_written == self.room.len()))
    }
}

impl Unpacker for Zstd {
    fn step(&mut self, packed: &[u8], all: &mut Vec<u8>) -> io::Result<Step> {
        if self.over {
            return Ok(Step::Over);
        }
        let (took, _) = self.run(packed, all)?;
        Ok(Step::Took(took))
    }

    fn end(mut self, all: &mut Vec<u8>) -> io::Result<()> {
        // What a decoder keeps back is less than a block.
        while !self.over {
            let (_, more) = self.run(&[], all)?;
            if !more && !self.over {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is cut off"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        task::{Context, Poll, Waker},
        time::Duration,
    };

    use super::*;
    use crate::body::Budget;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(plain: &[u8]) -> Vec<u8> {
        ::zstd::encode_all(plain, 0).unwrap()
    }

    /// One gzip member, megabytes long, of blocks that hold nothing.
    fn blocks_of_nothing() -> Bytes {
        let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
        packed.extend([0, 0, 0, 255, 255].repeat(1 << 20));
        packed.extend([1, 0, 0, 255, 255]);
        packed.extend([0; 8]);
        packed.into()
    }

    fn budget(mib: u32) -> Budget {
        Budget::of_mib(mib, Arc::default())
    }

    #[tokio::test]
    async fn what_is_packed_is_unpacked_up_to_the_limit() {
        let plain = vec![7; 200_000];
        for (packing, packed) in [(Packing::Gzip, gzip(&plain)), (Packing::Zstd, zstd(&plain))] {
            assert!(packed.len() < 1000, "a bomb is small");
            let unpack = async |packed: &[u8], limit, mib| {
                packing.unpack(Bytes::copy_from_slice(packed), limit, &mut budget(mib).hold()).await
            };
            assert_eq!(unpack(&packed, 200_000, 1).await.unwrap(), plain);
            assert_eq!(unpack(&packed, 199_999, 1).await.unwrap_err().kind(), Kind::TooLarge);
            assert_eq!(unpack(&packed, 200_000, 0).await.unwrap_err().kind(), Kind::Exhausted);
            for broken in [&b"garbage"[..], &packed[..packed.len() - 1], &packed[..10]] {
                assert_eq!(unpack(broken, 200_000, 1).await.unwrap_err().kind(), Kind::Invalid, "{packing:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_does_not_pack_well_is_unpacked_whole() {
        let random = minicol_plugin::SeededRandom::from_seed(7);
        let plain: Vec<u8> =
            (0..100_000).flat_map(|_| minicol_plugin::Random::next_u64(&random).to_be_bytes()).collect();
        for (packing, packed) in [(Packing::Gzip, gzip(&plain)), (Packing::Zstd, zstd(&plain))] {
            let unpacked = packing.unpack(packed.into(), plain.len(), &mut budget(1).hold()).await.unwrap();
            assert!(unpacked == plain, "{packing:?}");
        }
    }

    #[tokio::test]
    async fn more_than_one_member_or_frame_is_refused_where_the_second_begins() {
        for (packing, nothing) in [(Packing::Gzip, gzip(b"")), (Packing::Zstd, zstd(b""))] {
            let refused = packing.unpack(nothing.repeat(2).into(), 100, &mut budget(1).hold()).await.unwrap_err();
            assert_eq!(refused.kind(), Kind::Invalid);
            assert!(refused.message().contains("more than one gzip member or zstd frame"), "{}", refused.message());
            let unpacked = packing.unpack(nothing.into(), 100, &mut budget(1).hold()).await.unwrap();
            assert!(unpacked.is_empty(), "{packing:?}");
        }
    }

    /// It gives way at least as often as there are steps in what came, whatever comes of it.
    #[tokio::test]
    async fn unpacking_gives_way_after_every_step() {
        let packed = blocks_of_nothing();
        let steps = packed.len() / STEP;
        let budget = budget(1);
        let mut held = budget.hold();
        let mut unpacking = std::pin::pin!(Packing::Gzip.unpack(packed, 100, &mut held));
        let mut pauses = 0;
        let unpacked = loop {
            match unpacking.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Pending => pauses += 1,
                Poll::Ready(unpacked) => break unpacked,
            }
        };
        assert!(unpacked.unwrap().is_empty());
        assert!(pauses >= steps, "{pauses} pauses, {steps} steps");
    }

    /// The clock moves on when it gives way for the first time, and it ends there.
    #[tokio::test(start_paused = true)]
    async fn unpacking_ends_when_its_time_is_over() {
        let budget = budget(1);
        let mut held = budget.hold();
        let unpacking = Packing::Gzip.unpack(blocks_of_nothing(), 100, &mut held);
        let bounded = tokio::time::timeout(Duration::from_secs(30), unpacking);
        let (unpacked, ()) = tokio::join!(bounded, tokio::time::advance(Duration::from_secs(31)));
        assert!(unpacked.is_err(), "it went on");
    }
}
