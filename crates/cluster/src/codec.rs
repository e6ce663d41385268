//! Messages of the cluster's gRPC service: one byte that says which call it is, then its bytes.

use bytes::{Buf, BufMut, Bytes};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// The largest message. An append holds 4 MiB of entries, or one entry that is larger.
pub(crate) const MESSAGE_BYTES_MAX: usize = 96 << 20;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) call: u8,
    pub(crate) body: Bytes,
}

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FrameCodec;

impl Codec for FrameCodec {
    type Encode = Frame;
    type Decode = Frame;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for FrameCodec {
    type Item = Frame;
    type Error = Status;

    fn encode(&mut self, frame: Frame, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(1 + frame.body.len());
        buffer.put_u8(frame.call);
        buffer.put_slice(&frame.body);
        Ok(())
    }
}

impl Decoder for FrameCodec {
    type Item = Frame;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Frame>, Status> {
        if !buffer.has_remaining() {
            return Err(Status::invalid_argument("an empty message"));
        }
        let call = buffer.get_u8();
        let body = buffer.copy_to_bytes(buffer.remaining());
        Ok(Some(Frame { call, body }))
    }
}
