//! Certificates of an authority of the test's own, made by openssl.

use std::fs::{self, File};
use std::io::{BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// How keys are made.
const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/// The authority, and a certificate by it.
#[derive(Debug)]
pub struct Certificate {
    folder: TempDir,
}

impl Certificate {
    /// What is missing to make one: a reason to skip the test.
    pub fn missing() -> Option<String> {
        match Command::new("openssl").arg("version").output() {
            Err(e) if e.kind() == ErrorKind::NotFound => Some("`openssl` is not installed".into()),
            _ => None,
        }
    }

    /// Of these host names.
    pub fn new(names: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("dingbot-tls-").tempdir().unwrap();
        let authority = ["req", "-x509", "-days", "90", "-subj", "/CN=test authority"];
        openssl(
            folder.path(),
            &[&authority[..], &KEY, &["-keyout", "ca.key", "-out", "ca.pem"]].concat(),
        );
        let certificate = Self { folder };
        certificate.issue(names, 90);
        certificate
    }

    /// Another one by the same authority.
    pub fn another(&self, names: &[&str]) -> Self {
        self.lasting(names, 90)
    }

    /// One by the same authority whose time is over.
    pub fn expired(&self, names: &[&str]) -> Self {
        self.lasting(names, -1)
    }

    /// One by the same authority that ends in so many days.
    pub fn lasting(&self, names: &[&str], days: i32) -> Self {
        let folder = tempfile::Builder::new().prefix("dingbot-tls-").tempdir().unwrap();
        for file in ["ca.key", "ca.pem"] {
            fs::copy(self.folder.path().join(file), folder.path().join(file)).unwrap();
        }
        let certificate = Self { folder };
        certificate.issue(names, days);
        certificate
    }

    /// One by an authority between, `intermediate.pem`, that this one has made.
    pub fn by_another_authority(&self, names: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("dingbot-tls-").tempdir().unwrap();
        let here = folder.path();
        let root = |file: &str| self.folder.path().join(file).to_str().unwrap().to_owned();
        fs::write(here.join("ca.conf"), "basicConstraints = critical, CA:TRUE\n").unwrap();
        let request = ["req", "-subj", "/CN=test intermediate"];
        let made = ["-keyout", "ca.key", "-out", "ca.csr"];
        openssl(here, &[&request[..], &KEY, &made].concat());
        let sign = ["x509", "-req", "-days", "90", "-in", "ca.csr", "-extfile", "ca.conf"];
        let (authority, key) = (root("ca.pem"), root("ca.key"));
        let by = ["-CA", &authority, "-CAkey", &key, "-CAcreateserial", "-out", "ca.pem"];
        openssl(here, &[&sign[..], &by].concat());
        let certificate = Self { folder };
        certificate.issue(names, 90);
        let here = certificate.folder.path();
        fs::rename(here.join("ca.pem"), here.join("intermediate.pem")).unwrap();
        fs::copy(root("ca.pem"), here.join("ca.pem")).unwrap();
        certificate
    }

    fn issue(&self, names: &[&str], days: i32) {
        let names: Vec<String> = names.iter().map(|name| format!("DNS:{name}")).collect();
        let leaf = format!(
            "subjectAltName = {}\nbasicConstraints = critical, CA:FALSE\n\
             extendedKeyUsage = serverAuth\n",
            names.join(",")
        );
        let folder = self.folder.path();
        fs::write(folder.join("leaf.conf"), leaf).unwrap();
        let request = ["req", "-subj", "/CN=test"];
        let made = ["-keyout", "leaf.key", "-out", "leaf.csr"];
        openssl(folder, &[&request[..], &KEY, &made].concat());
        let days = days.to_string();
        let sign = ["x509", "-req", "-days", &days, "-in", "leaf.csr", "-extfile", "leaf.conf"];
        let by = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "leaf.pem"];
        openssl(folder, &[&sign[..], &by].concat());
    }

    /// Where `leaf.pem`, `leaf.key` and `ca.pem` are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The authority's own certificate, as `SSL_CERT_FILE` names it.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// What a server needs to speak TLS with it.
    pub fn acceptor(&self) -> TlsAcceptor {
        let open = |name: &str| BufReader::new(File::open(self.folder.path().join(name)).unwrap());
        let chain = CertificateDer::pem_reader_iter(open("leaf.pem"));
        let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_reader(open("leaf.key")).unwrap();
        let config = ServerConfig::builder().with_no_client_auth();
        TlsAcceptor::from(Arc::new(config.with_single_cert(chain, key).unwrap()))
    }
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}
