//! Signature Version 4: the signature in a header, and the one in a presigned URL.
//!
//! Source: "Signature Calculations for the Authorization Header" and "Authenticating Requests: Using Query Parameters"
//! in the S3 API reference.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use super::answer::{Code, Refusal};
use super::call::{Call, encode};
use super::digest::{hex, hmac_sha256, sha256_hex};

/// How far a clock may be off.
const SKEW: TimeDelta = TimeDelta::minutes(15);
/// The longest that a presigned URL may be good for: a week.
const LONGEST: i64 = 7 * 24 * 3600;
/// The one algorithm.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The payload's hash where it is not signed.
pub const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// What belongs to an access key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secret {
    /// The secret access key.
    pub secret: String,
    /// The session token that must come along, for temporary credentials.
    pub token: Option<String>,
}

/// All that a signature covers, as the request claims it.
struct Claim<'a> {
    access_key: &'a str,
    /// `20130524/us-east-1/s3/aws4_request`
    scope: &'a str,
    date: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
    payload: &'a str,
    token: Option<&'a str>,
    presigned: bool,
}

/// Checks who sent the request, and that it arrived as it was signed. Returns the access key.
///
/// # Errors
/// As S3 gives them, from `AccessDenied` for an anonymous request to `SignatureDoesNotMatch`.
pub fn verify(
    call: &Call,
    body: &[u8],
    keys: &BTreeMap<String, Secret>,
    region: &str,
    now: DateTime<Utc>,
) -> Result<String, Refusal> {
    let claim = match (call.header("authorization"), call.param("X-Amz-Algorithm")) {
        (Some(_), Some(_)) => {
            let message = "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query \
                           string parameter or the Authorization header should be specified";
            return Err(Refusal::new(Code::InvalidArgument, message));
        }
        (Some(header), None) => by_header(call, header)?,
        (None, Some(_)) => by_query(call)?,
        (None, None) => return Err(Code::AccessDenied.into()),
    };
    let key = keys.get(claim.access_key).ok_or(Code::InvalidAccessKeyId)?;
    if claim.token != key.token.as_deref() {
        return Err(Code::InvalidToken.into());
    }
    check_scope(&claim, region)?;
    check_date(call, &claim, now)?;
    check_signed_headers(call, &claim)?;

    let request = canonical_request(call, &claim);
    let right = sign(&key.secret, claim.date, claim.scope, &request);
    if right != claim.signature {
        let message = format!("{} Canonical request: {request:?}", Refusal::from(Code::SignatureDoesNotMatch).message);
        return Err(Refusal::new(Code::SignatureDoesNotMatch, message));
    }
    check_payload(claim.payload, body)?;
    Ok(claim.access_key.to_owned())
}

/// The signature over a canonical request.
pub fn sign(secret: &str, date: &str, scope: &str, canonical_request: &str) -> String {
    let text = format!("{ALGORITHM}\n{date}\n{scope}\n{}", sha256_hex(canonical_request.as_bytes()));
    let key =
        scope.split('/').fold(format!("AWS4{secret}").into_bytes(), |key, part| hmac_sha256(&key, part.as_bytes()));
    hex(&hmac_sha256(&key, text.as_bytes()))
}

fn by_header<'a>(call: &'a Call, header: &'a str) -> Result<Claim<'a>, Refusal> {
    let malformed =
        |what: &str| Refusal::new(Code::AuthorizationHeaderMalformed, format!("The header's {what} is malformed"));
    let fields = header.strip_prefix(ALGORITHM).ok_or_else(|| malformed("algorithm"))?;
    let field = |name: &str| {
        let fields = fields.split(',').map(str::trim);
        let mut values = fields.filter_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        values.next().ok_or_else(|| malformed(name))
    };
    let (access_key, scope) = field("Credential")?.split_once('/').ok_or_else(|| malformed("Credential"))?;
    let missing =
        |name| Refusal::new(Code::InvalidRequest, format!("Missing required header for this request: {name}"));
    Ok(Claim {
        access_key,
        scope,
        date: call.header("x-amz-date").ok_or(Code::AccessDenied)?,
        signed_headers: field("SignedHeaders")?,
        signature: field("Signature")?,
        payload: call.header("x-amz-content-sha256").ok_or_else(|| missing("x-amz-content-sha256"))?,
        token: call.header("x-amz-security-token"),
        presigned: false,
    })
}

fn by_query(call: &Call) -> Result<Claim<'_>, Refusal> {
    let wrong = |message: &str| Refusal::new(Code::AuthorizationQueryParametersError, message);
    let param =
        |name: &str| call.param(name).ok_or_else(|| wrong(&format!("Query-string authentication requires {name}")));
    if param("X-Amz-Algorithm")? != ALGORITHM {
        return Err(wrong("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""));
    }
    let credential = param("X-Amz-Credential")?.split_once('/');
    let (access_key, scope) = credential.ok_or_else(|| wrong("Error parsing the X-Amz-Credential parameter"))?;
    Ok(Claim {
        access_key,
        scope,
        date: param("X-Amz-Date")?,
        signed_headers: param("X-Amz-SignedHeaders")?,
        signature: param("X-Amz-Signature")?,
        payload: call.header("x-amz-content-sha256").unwrap_or(UNSIGNED),
        token: call.param("X-Amz-Security-Token"),
        presigned: true,
    })
}

fn check_scope(claim: &Claim<'_>, region: &str) -> Result<(), Refusal> {
    let code = match claim.presigned {
        true => Code::AuthorizationQueryParametersError,
        false => Code::AuthorizationHeaderMalformed,
    };
    let day = claim.date.get(..8).unwrap_or_default();
    let right = format!("{day}/{region}/s3/aws4_request");
    if claim.scope == right {
        return Ok(());
    }
    Err(Refusal::new(code, format!("The credential's scope is {:?}, expecting {right:?}", claim.scope)))
}

fn check_date(call: &Call, claim: &Claim<'_>, now: DateTime<Utc>) -> Result<(), Refusal> {
    let date = NaiveDateTime::parse_from_str(claim.date, "%Y%m%dT%H%M%SZ").map_err(|_| Code::AccessDenied)?.and_utc();
    if !claim.presigned {
        return if (now - date).abs() > SKEW { Err(Code::RequestTimeTooSkewed.into()) } else { Ok(()) };
    }
    let wrong = |message: &str| Refusal::new(Code::AuthorizationQueryParametersError, message);
    let expires = call.param("X-Amz-Expires").and_then(|text| text.parse::<i64>().ok());
    let expires = expires.ok_or_else(|| wrong("X-Amz-Expires should be a number"))?;
    if !(1..=LONGEST).contains(&expires) {
        return Err(wrong("X-Amz-Expires must be between 1 and 604800 seconds"));
    }
    if date - now > SKEW {
        return Err(Refusal::new(Code::AccessDenied, "Request is not valid yet"));
    }
    if now > date + TimeDelta::seconds(expires) {
        return Err(Refusal::new(Code::AccessDenied, "Request has expired"));
    }
    Ok(())
}

/// `host` and every `x-amz-…` header must be signed, so that nobody can add one on the way.
fn check_signed_headers(call: &Call, claim: &Claim<'_>) -> Result<(), Refusal> {
    let signed: Vec<_> = claim.signed_headers.split(';').collect();
    let needed = call.headers.keys().map(|name| name.as_str()).filter(|name| name.starts_with("x-amz-"));
    match needed.chain(["host"]).find(|name| !signed.contains(name)) {
        None => Ok(()),
        Some(name) => {
            let message = "There were headers present in the request which were not signed";
            Err(Refusal::new(Code::AccessDenied, format!("{message}: {name}")))
        }
    }
}

fn canonical_request(call: &Call, claim: &Claim<'_>) -> String {
    let query = call.query.iter().filter(|(name, _)| !(claim.presigned && name == "X-Amz-Signature"));
    let mut query: Vec<_> = query.map(|(name, value)| (encode(name, false), encode(value, false))).collect();
    query.sort_unstable();
    let query: Vec<_> = query.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut headers = String::new();
    for name in claim.signed_headers.split(';') {
        let values: Vec<_> = match name {
            "host" => vec![call.host.clone()],
            name => call.headers.get_all(name).iter().map(|value| normal(value.as_bytes())).collect(),
        };
        headers.push_str(&format!("{name}:{}\n", values.join(",")));
    }
    let path = encode(&super::call::decode(&call.path), true);
    format!("{}\n{path}\n{}\n{headers}\n{}\n{}", call.method, query.join("&"), claim.signed_headers, claim.payload)
}

/// A header's value with its runs of spaces made one.
fn normal(value: &[u8]) -> String {
    String::from_utf8_lossy(value).split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

fn check_payload(claimed: &str, body: &[u8]) -> Result<(), Refusal> {
    match claimed {
        UNSIGNED => Ok(()),
        chunked if chunked.starts_with("STREAMING-") => {
            Err(Refusal::new(Code::NotImplemented, "aws-chunked bodies are not implemented by this server"))
        }
        claimed if claimed == sha256_hex(body) => Ok(()),
        _ => Err(Code::XAmzContentSHA256Mismatch.into()),
    }
}
