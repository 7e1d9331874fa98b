//! Checks the signature of a request.
//!
//! Follows "V3 request structure and signature" (ACS3-HMAC-SHA256) and "Common error codes": the
//! date within 15 minutes, a nonce once, every `x-acs-` header signed, the token of temporary
//! credentials present and signed, too. The order in which the gateway finds faults is not
//! documented; here it is the date, the key, its token, the signature, the nonce.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::api::{Failure, Key};
use crate::support::server::Received;

/// Farthest a date may be from the present, in seconds.
const SKEW: i64 = 15 * 60;
/// The headers without which a request is not read.
const REQUIRED: [&str; 6] = [
    "host",
    "x-acs-action",
    "x-acs-version",
    "x-acs-date",
    "x-acs-signature-nonce",
    "x-acs-content-sha256",
];

/// The key a request is signed with.
pub(super) fn check<'a>(
    request: &Received,
    keys: &'a [Key],
    now: jiff::Timestamp,
) -> Result<&'a Key, Failure> {
    for name in REQUIRED {
        if request.header(name).is_empty() {
            return Err(Failure::new(400, "MissingParameter", &format!("{name} is mandatory")));
        }
    }
    let date = request.header("x-acs-date");
    let is_utc = date.len() == 20 && date.ends_with('Z');
    let Some(date) = date.parse::<jiff::Timestamp>().ok().filter(|_| is_utc) else {
        return Err(Failure::new(
            400,
            "InvalidTimeStamp.Format",
            "Specified time stamp or date value is not well formatted.",
        ));
    };
    if now.duration_since(date).as_secs().abs() > SKEW {
        return Err(Failure::new(
            400,
            "InvalidTimeStamp.Expired",
            "Specified time stamp or date value is expired.",
        ));
    }
    let incomplete = || {
        let message = "The request signature does not conform to Aliyun standards.";
        Failure::new(400, "IncompleteSignature", message)
    };
    let parts = request.header("authorization").strip_prefix("ACS3-HMAC-SHA256 ");
    let parts: Vec<(&str, &str)> =
        parts.unwrap_or_default().split(',').filter_map(|part| part.split_once('=')).collect();
    let [("Credential", id), ("SignedHeaders", signed), ("Signature", signature)] = parts[..]
    else {
        return Err(incomplete());
    };
    let key = keys.iter().find(|key| key.id == id).ok_or_else(|| {
        Failure::new(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
    })?;
    check_token(request, key)?;
    let names: Vec<&str> = signed.split(';').collect();
    let must = request
        .headers
        .keys()
        .map(|name| name.as_str())
        .filter(|name| name.starts_with("x-acs-") || ["host", "content-type"].contains(name));
    if !must.into_iter().all(|name| names.contains(&name)) || !names.is_sorted() {
        return Err(incomplete());
    }
    let payload = request.header("x-acs-content-sha256") == hash(&request.body);
    if !payload || signature != of(request, &names, &key.secret) {
        return Err(Failure::new(
            400,
            "SignatureDoesNotMatch",
            "Specified signature is not matched with our calculation.",
        ));
    }
    Ok(key)
}

fn check_token(request: &Received, key: &Key) -> Result<(), Failure> {
    let given = request.header("x-acs-security-token");
    match &key.token {
        None if given.is_empty() => Ok(()),
        Some(_) if given.is_empty() => Err(Failure::new(
            400,
            "MissingSecurityToken",
            "SecurityToken is mandatory for this action.",
        )),
        Some(token) if token == given && key.expired => Err(Failure::new(
            400,
            "InvalidSecurityToken.Expired",
            "Specified SecurityToken is expired.",
        )),
        Some(token) if token == given => Ok(()),
        _ => Err(Failure::new(
            400,
            "InvalidSecurityToken.MismatchWithAccessKey",
            "Specified SecurityToken mismatch with the AccessKey.",
        )),
    }
}

/// The signature of a request, over the headers with these names.
fn of(request: &Received, names: &[&str], secret: &str) -> String {
    let payload = hash(&request.body);
    let mut query: Vec<(String, String)> =
        url::form_urlencoded::parse(request.query.as_bytes()).into_owned().collect();
    query.sort();
    let query: Vec<String> =
        query.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    let headers: String = names
        .iter()
        .map(|name| {
            let values = request.headers.get_all(*name).iter();
            let values: Vec<&str> =
                values.map(|value| value.to_str().unwrap_or_default().trim()).collect();
            format!("{name}:{}\n", values.join(","))
        })
        .collect();
    // The hash in the header is signed as a header; the one of the body must be the same.
    let canonical = [
        request.method.as_str(),
        &request.path,
        &query.join("&"),
        &headers,
        &names.join(";"),
        &payload,
    ]
    .join("\n");
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(format!("ACS3-HMAC-SHA256\n{}", hash(canonical.as_bytes())).as_bytes());
    hexadecimal(&mac.finalize().into_bytes())
}

/// As RFC 3986 has it.
fn encode(text: &str) -> String {
    let keep = |c: u8| c.is_ascii_alphanumeric() || b"-_.~".contains(&c);
    let encoded = |c: u8| if keep(c) { (c as char).to_string() } else { format!("%{c:02X}") };
    text.bytes().map(encoded).collect()
}

fn hash(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
