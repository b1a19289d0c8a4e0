//! The headers around messages, and whole frames: a four-byte length, a header, a message.
//!
//! Knows which header goes with which version. Which correlation id is due, and when, is the
//! connection's business.

use bytes::Bytes;

use crate::error::ErrorCode;

use super::api_key::ApiKey;
use super::error::{DecodeError, EncodeError, EncodeProblem};
use super::message::{Message, Request};
use super::messages::APIS;
use super::reader::Reader;
use super::wire::{Form, Wire};
use super::writer::Writer;

/// What precedes each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    pub api_key: ApiKey,
    pub api_version: i16,
    pub correlation_id: i32,
    pub client_id: Option<String>,
}

/// The client id keeps its classic form in every version, so that a broker can read the header of
/// an ApiVersions request that is newer than itself.
const CLIENT_ID: Form = Form { version: 1, flexible: false, nullable: true };

/// A response's header has tagged fields when its message is flexible; that of ApiVersions never
/// has, since its reader does not know yet what the broker speaks.
fn has_flexible_response_header<M: Message>(version: i16) -> bool {
    version >= M::FLEXIBLE_FROM && M::API != ApiKey::API_VERSIONS
}

/// A whole request as segments: length, header and message.
pub fn encode_request<R: Request>(
    correlation_id: i32,
    client_id: Option<&str>,
    request: &R,
    version: i16,
) -> Result<Vec<Bytes>, EncodeError> {
    let mut w = Writer::with_capacity(256);
    w.i32(0);
    w.i16(R::API.0);
    w.i16(version);
    w.i32(correlation_id);
    client_id
        .map(str::to_owned)
        .write(&mut w, CLIENT_ID)
        .map_err(|error| error.at("RequestHeader.client_id"))?;
    if version >= R::FLEXIBLE_FROM {
        w.varint(0);
    }
    request.encode(&mut w, version)?;
    close::<R>(w, version)
}

/// A whole response as segments: length, header and message.
pub fn encode_response<M: Message>(
    correlation_id: i32,
    version: i16,
    response: &M,
) -> Result<Vec<Bytes>, EncodeError> {
    let mut w = Writer::with_capacity(256);
    w.i32(0);
    w.i32(correlation_id);
    if has_flexible_response_header::<M>(version) {
        w.varint(0);
    }
    response.encode(&mut w, version)?;
    close::<M>(w, version)
}

/// Fills in the length that the frame begins with.
fn close<M: Message>(mut w: Writer, version: i16) -> Result<Vec<Bytes>, EncodeError> {
    let length = w.len() - 4;
    let Ok(prefix) = i32::try_from(length) else {
        let problem = EncodeProblem::TooLong { length, max: i32::MAX as usize };
        return Err(EncodeError::new(version, problem).at(M::NAME));
    };
    w.patch_i32(0, prefix);
    Ok(w.into_segments().1)
}

/// Reads the header of a request; the message follows in the reader.
///
/// Of an API that is not known here all is read but the tagged fields, which cannot be told from
/// the message.
pub fn decode_request_header(r: &mut Reader) -> Result<RequestHeader, DecodeError> {
    let mut read = || {
        let api_key = ApiKey(r.i16()?);
        let api_version = r.i16()?;
        let correlation_id = r.i32()?;
        let client_id = Option::read(r, CLIENT_ID)?;
        let known = APIS.iter().find(|known| known.key == api_key);
        if known.is_some_and(|known| api_version >= known.flexible_from) {
            r.tagged(|_, _| Ok(false))?;
        }
        Ok(RequestHeader { api_key, api_version, correlation_id, client_id })
    };
    read().map_err(|error: DecodeError| error.at("RequestHeader"))
}

/// The correlation id of a response, which says what request it answers and so how to read the
/// rest.
pub fn correlation_id(frame: &Bytes) -> Result<i32, DecodeError> {
    Reader::new(frame.clone()).i32().map_err(|error| error.at("ResponseHeader.correlation_id"))
}

/// Reads the response to a request of type `R` that was sent in `version`; `frame` begins after the
/// length.
///
/// A broker that does not know the version of an ApiVersions request answers in version 0, with the
/// error `UNSUPPORTED_VERSION` and the versions that it does know; so that response may be read in
/// version 0 here.
pub fn decode_response<R: Request>(
    frame: Bytes,
    version: i16,
) -> Result<(i32, R::Response), DecodeError> {
    let mut r = Reader::new(frame);
    let mut header = || {
        let correlation_id = r.i32()?;
        if has_flexible_response_header::<R::Response>(version) {
            r.tagged(|_, _| Ok(false))?;
        }
        Ok(correlation_id)
    };
    let correlation_id = header().map_err(|error: DecodeError| error.at("ResponseHeader"))?;
    let version =
        if R::API == ApiKey::API_VERSIONS && is_version_refused(&r) { 0 } else { version };
    Ok((correlation_id, R::Response::decode(&mut r, version)?))
}

/// Every version of ApiVersionsResponse begins with the error code.
fn is_version_refused(body: &Reader) -> bool {
    body.clone().i16().map(ErrorCode::new) == Ok(ErrorCode::UNSUPPORTED_VERSION)
}
