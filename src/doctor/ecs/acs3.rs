//! The signature `ACS3-HMAC-SHA256` of Alibaba Cloud's OpenAPI ("V3 request structure and
//! signature").

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use crate::config::Secret;

/// The name of the algorithm, as it stands in the header and in what is signed.
const ALGORITHM: &str = "ACS3-HMAC-SHA256";
/// What RFC 3986 leaves as it is.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What is signed of a request.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    /// The path; an empty one is `/`.
    pub(super) path: &'a str,
    /// The parameters, not encoded.
    pub(super) query: &'a [(String, String)],
    /// The headers that are signed; a name may stand more than once.
    pub(super) headers: &'a [(&'a str, String)],
    /// The hash of the body, as it stands in `x-acs-content-sha256`.
    pub(super) payload: &'a str,
}

/// The value of the header `Authorization`.
pub(super) fn authorization(request: &Request<'_>, key: &str, secret: &Secret) -> String {
    let (canonical, signed) = canonical(request);
    let to_sign = format!("{ALGORITHM}\n{}", sha256(canonical.as_bytes()));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
        .expect("HMAC takes a key of any length");
    mac.update(to_sign.as_bytes());
    let signature = hexadecimal(&mac.finalize().into_bytes());
    format!("{ALGORITHM} Credential={key},SignedHeaders={signed},Signature={signature}")
}

/// The query as it is sent and signed: sorted by name, and encoded so that the two are the same.
pub(super) fn canonical_query(query: &[(String, String)]) -> String {
    let mut query: Vec<_> = query.iter().collect();
    query.sort();
    let encode = |text| utf8_percent_encode(text, RESERVED);
    let pairs = query.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// SHA-256 in hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// The canonical request, and the names of the headers in it.
fn canonical(request: &Request<'_>) -> (String, String) {
    let mut headers: Vec<(String, Vec<&str>)> = Vec::new();
    for (name, value) in request.headers {
        let name = name.to_ascii_lowercase();
        match headers.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value.trim()),
            None => headers.push((name, vec![value.trim()])),
        }
    }
    headers.sort();
    let lines: String =
        headers.iter().map(|(name, values)| format!("{name}:{}\n", values.join(","))).collect();
    let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    let signed = names.join(";");
    let path = if request.path.is_empty() { "/" } else { request.path };
    let query = canonical_query(request.query);
    let Request { method, payload, .. } = request;
    (format!("{method}\n{path}\n{query}\n{lines}\n{signed}\n{payload}"), signed)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    /// The worked example of the document.
    #[test]
    fn the_documents_example_comes_out() {
        let query = pairs(&[
            ("RegionId", "cn-shanghai"),
            ("ImageId", "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd"),
        ]);
        let payload = sha256(b"");
        assert_eq!(payload, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        let headers = [
            ("x-acs-version", "2014-05-26".to_owned()),
            ("x-acs-signature-nonce", "3156853299f313e23d1673dc12e1703d".to_owned()),
            ("x-acs-date", "2023-10-26T10:22:32Z".to_owned()),
            ("x-acs-content-sha256", payload.clone()),
            ("x-acs-action", "RunInstances".to_owned()),
            ("host", "ecs.cn-shanghai.aliyuncs.com".to_owned()),
        ];
        let request = Request {
            method: "POST",
            path: "/",
            query: &query,
            headers: &headers,
            payload: &payload,
        };
        assert_eq!(
            sha256(canonical(&request).0.as_bytes()),
            "7ea06492da5221eba5297e897ce16e55f964061054b7695beedaac1145b1e259"
        );
        assert_eq!(
            authorization(&request, "YourAccessKeyId", &Secret::from("YourAccessKeySecret")),
            "ACS3-HMAC-SHA256 Credential=YourAccessKeyId,SignedHeaders=host;x-acs-action;\
             x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version,\
             Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
        );
    }

    /// The vector of the SDK's own test: an empty method and path, and a header with two values.
    #[test]
    fn the_sdks_vector_comes_out() {
        let query = pairs(&[("test", "ok"), ("empty", "")]);
        let headers = [("x-acs-test", "http".to_owned()), ("x-acs-test", "https".to_owned())];
        let payload = "55e12e91650d2fec56ec74e1d3e4ddbfce2ef3a65890c2a19ecf88a307e76a23";
        let request = Request { method: "", path: "", query: &query, headers: &headers, payload };
        assert_eq!(
            authorization(&request, "acesskey", &Secret::from("secret")),
            "ACS3-HMAC-SHA256 Credential=acesskey,SignedHeaders=x-acs-test,\
             Signature=4ab59fffe3c5738ff8a2729f90cc04fe18b02a4b15b2102cbaf92f9ff3df2ea3"
        );
    }

    #[test]
    fn a_query_is_encoded_as_rfc_3986_has_it() {
        let query = pairs(&[("b", "a b*~/:"), ("a", "[\"中\"]"), ("a.1", "")]);
        assert_eq!(canonical_query(&query), "a=%5B%22%E4%B8%AD%22%5D&a.1=&b=a%20b%2A~%2F%3A");
    }
}
