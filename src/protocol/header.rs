//! The headers around messages, and whole frames: a four-byte length, a header, a message.
//!
//! Knows which header goes with which version. Which correlation id is due, and when, is the
//! connection's business.

use bytes::Bytes;

use crate::error::ErrorCode;

use super::api_key::ApiKey;
use super::error::{DecodeError, EncodeError, EncodeProblem};
use super::message::{Message, Request};
use super::messages::find;
use super::reader::Reader;
use super::wire::{Form, LengthWidth, Wire};
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
    LengthWidth::Two
        .write(client_id.map(str::len), &mut w, CLIENT_ID)
        .map_err(|error| *error.at("RequestHeader.client_id"))?;
    w.slice(client_id.unwrap_or_default().as_bytes());
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
        return Err(*EncodeError::new(version, problem).at(M::NAME));
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
        if find(api_key).is_some_and(|api| api_version >= api.flexible_from) {
            r.tagged(&mut |_, _| Ok(false))?;
        }
        Ok(RequestHeader { api_key, api_version, correlation_id, client_id })
    };
    read().map_err(|error: Box<DecodeError>| *error.at("RequestHeader"))
}

/// The correlation id of a response, which says what request it answers and so how to read the
/// rest.
pub fn correlation_id(frame: &Bytes) -> Result<i32, DecodeError> {
    Reader::new(frame.clone()).i32().map_err(|error| *error.at("ResponseHeader.correlation_id"))
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
            r.tagged(&mut |_, _| Ok(false))?;
        }
        Ok(correlation_id)
    };
    let correlation_id = header().map_err(|error: Box<DecodeError>| *error.at("ResponseHeader"))?;
    let version =
        if R::API == ApiKey::API_VERSIONS && is_version_refused(&r) { 0 } else { version };
    Ok((correlation_id, R::Response::decode(&mut r, version)?))
}

/// Every version of ApiVersionsResponse begins with the error code.
fn is_version_refused(body: &Reader) -> bool {
    body.clone().i16().map(ErrorCode::new) == Ok(ErrorCode::UNSUPPORTED_VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::error::DecodeProblem;
    use crate::protocol::messages::api_versions::{
        ApiVersion, ApiVersionsRequest, ApiVersionsResponse,
    };
    use crate::protocol::messages::metadata::{MetadataRequest, MetadataResponse};

    fn joined(segments: Vec<Bytes>) -> Vec<u8> {
        segments.concat()
    }

    fn frame_body(segments: Vec<Bytes>) -> Bytes {
        joined(segments).split_off(4).into()
    }

    #[test]
    fn a_request_begins_with_its_length_and_header() {
        let request = ApiVersionsRequest::default();
        let classic = encode_request(7, Some("me"), &request, 2).expect("fits");
        assert_eq!(joined(classic), b"\0\0\0\x0c\0\x12\0\x02\0\0\0\x07\0\x02me");
        // Flexible: tagged fields of the header; two empty strings and tagged fields of the body.
        let flexible = encode_request(7, None, &request, 3).expect("fits");
        assert_eq!(joined(flexible), b"\0\0\0\x0e\0\x12\0\x03\0\0\0\x07\xff\xff\0\x01\x01\0");
    }

    #[test]
    fn a_client_id_that_is_too_long_is_refused() {
        let id = "x".repeat(40_000);
        let error = encode_request(7, Some(&id), &ApiVersionsRequest::default(), 3);
        let error = error.expect_err("40,000 bytes do not fit a two-byte length");
        assert_eq!(error.place, "RequestHeader.client_id");
        assert_eq!(error.problem, EncodeProblem::TooLong { length: 40_000, max: 32_767 });
    }

    #[test]
    fn a_request_header_is_read_back() {
        for version in 0..=13 {
            let request = MetadataRequest::default();
            let segments = encode_request(5, Some("client"), &request, version).expect("fits");
            let mut r = Reader::new(frame_body(segments));
            let header = decode_request_header(&mut r).expect("a header");
            assert_eq!(header.api_key, ApiKey::METADATA);
            assert_eq!((header.api_version, header.correlation_id), (version, 5));
            assert_eq!(header.client_id.as_deref(), Some("client"));
            assert_eq!(MetadataRequest::decode(&mut r, version), Ok(request));
        }
    }

    #[test]
    fn the_header_of_an_unknown_api_is_read_up_to_the_client_id() {
        let bytes = Bytes::from_static(b"\x27\x0f\0\x01\0\0\0\x09\xff\xffrest");
        let mut r = Reader::new(bytes);
        let header = decode_request_header(&mut r).expect("a header");
        assert_eq!((header.api_key, header.correlation_id), (ApiKey(9999), 9));
        assert_eq!(header.client_id, None);
        assert_eq!(r.remaining(), 4);
    }

    #[test]
    fn a_response_names_its_request() {
        for version in 0..=13 {
            let response = MetadataResponse { controller_id: 3, ..Default::default() };
            let segments = encode_response(-8, version, &response).expect("fits");
            let body = frame_body(segments);
            assert_eq!(correlation_id(&body), Ok(-8));
            let read = decode_response::<MetadataRequest>(body, version).expect("it is read back");
            assert_eq!(read.0, -8);
            assert_eq!(read.1.controller_id, if version == 0 { -1 } else { 3 });
        }
        let short = correlation_id(&Bytes::from_static(b"\0\0")).expect_err("two bytes");
        assert_eq!(short.problem, DecodeProblem::Truncated { needed: 4, remaining: 2 });
    }

    /// Client: ApiVersions v4. Broker knows up to v2 only, and answers in v0.
    #[test]
    fn a_refused_api_versions_request_is_answered_in_version_0() {
        let refusal = ApiVersionsResponse {
            error_code: ErrorCode::UNSUPPORTED_VERSION,
            api_keys: vec![ApiVersion { api_key: 18, min_version: 0, max_version: 2 }],
            ..Default::default()
        };
        let segments = encode_response(1, 0, &refusal).expect("fits");
        let read = decode_response::<ApiVersionsRequest>(frame_body(segments), 4);
        assert_eq!(read, Ok((1, refusal)));
    }

    #[test]
    fn the_api_versions_response_has_no_tagged_fields_in_its_header() {
        let response = ApiVersionsResponse { throttle_time_ms: 5, ..Default::default() };
        for version in 1..=4 {
            let body = frame_body(encode_response(1, version, &response).expect("fits"));
            // Correlation id, then at once the error code.
            assert_eq!(body[..6], [0, 0, 0, 1, 0, 0], "v{version}");
            let read = decode_response::<ApiVersionsRequest>(body, version);
            assert_eq!(read, Ok((1, response.clone())), "v{version}");
        }
    }
}
