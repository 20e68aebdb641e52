//! An authority that signs certificates, made by openssl.

use std::path::{Path, PathBuf};
use std::process::Command;
use time::OffsetDateTime;
use time::macros::format_description;

/// Seconds of a day.
pub const DAY: i64 = 86_400;
/// From when to when a certificate is valid, in seconds from now.
pub const LONG: (i64, i64) = (-DAY, 60 * DAY);

/// A folder with the authority's certificate `ca.pem`, and with all that it has signed.
pub struct Authority {
    folder: PathBuf,
}

/// Runs openssl in `folder`; what it says.
pub fn openssl(folder: &Path, arguments: &[&str]) -> String {
    let mut openssl = Command::new("openssl");
    let made = openssl.current_dir(folder).args(arguments).output();
    let made = made.expect("openssl is not installed: apt-get install openssl");
    assert!(made.status.success(), "{arguments:?}: {made:?}");
    String::from_utf8_lossy(&made.stdout).into_owned()
}

fn moment(from_now_s: i64) -> String {
    let time = OffsetDateTime::now_utc() + time::Duration::seconds(from_now_s);
    time.format(format_description!("[year][month][day][hour][minute][second]Z")).unwrap()
}

impl Authority {
    pub fn new(folder: PathBuf, name: &str) -> Self {
        std::fs::create_dir(&folder).unwrap();
        let config = "[ca]\ndefault_ca = this\n[this]\ndatabase = index.txt\nserial = serial\nnew_certs_dir = .\ncertificate = ca.pem\n\
                      private_key = ca.key\ndefault_md = sha256\npolicy = any\ndefault_crl_days = 30\nunique_subject = no\n\
                      crlnumber = crlnumber\ncrl_extensions = list\n[list]\nauthorityKeyIdentifier = keyid\n\
                      [any]\ncommonName = optional\n[req]\ndistinguished_name = any\n";
        std::fs::write(folder.join("ca.cnf"), config).unwrap();
        std::fs::write(folder.join("index.txt"), "").unwrap();
        std::fs::write(folder.join("serial"), "1000\n").unwrap();
        std::fs::write(folder.join("crlnumber"), "01\n").unwrap();
        let (subject, days) = (format!("/CN={name}"), ["-days", "90"]);
        let mut arguments = vec!["req", "-x509", "-config", "ca.cnf", "-newkey", "ec", "-pkeyopt"];
        arguments.extend(["ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "ca.key", "-out", "ca.pem"]);
        arguments.extend(["-subj", &subject, "-addext", "basicConstraints=critical,CA:TRUE"]);
        arguments.extend(["-addext", "keyUsage=critical,keyCertSign,cRLSign"]);
        openssl(&folder, &[arguments.as_slice(), &days].concat());
        Self { folder }
    }

    /// `<file>.pem` and `<file>.key`, of this subject and with these alternative names.
    pub fn sign(&self, file: &str, subject: &str, names: &str, (from_s, to_s): (i64, i64)) {
        let [request, key, pem, extensions] = ["csr", "key", "pem", "ext"].map(|ending| format!("{file}.{ending}"));
        let mut arguments = vec!["req", "-new", "-config", "ca.cnf", "-newkey", "ec", "-pkeyopt"];
        arguments.extend([
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            subject,
            "-keyout",
            &key,
            "-out",
            &request,
        ]);
        openssl(&self.folder, &arguments);
        let names = if names.is_empty() { String::new() } else { format!("subjectAltName = {names}\n") };
        std::fs::write(self.path(&extensions), format!("basicConstraints = CA:FALSE\n{names}")).unwrap();
        let (from, to) = (moment(from_s), moment(to_s));
        let mut arguments = vec!["ca", "-batch", "-config", "ca.cnf", "-in", &request, "-out", &pem, "-notext"];
        arguments.extend(["-extfile", &extensions, "-startdate", &from, "-enddate", &to, "-preserveDN"]);
        openssl(&self.folder, &arguments);
    }

    /// A certificate of the hub's own.
    pub fn sign_hub(&self, file: &str, validity: (i64, i64)) {
        self.sign(file, &format!("/CN={file}"), "DNS:hub.example,DNS:localhost,IP:127.0.0.1", validity);
    }

    /// `crl.pem`: what is revoked.
    pub fn list(&self) {
        openssl(&self.folder, &["ca", "-config", "ca.cnf", "-gencrl", "-out", "crl.pem"]);
    }

    pub fn revoke(&self, file: &str) {
        openssl(&self.folder, &["ca", "-config", "ca.cnf", "-revoke", &format!("{file}.pem")]);
        self.list();
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    pub fn read(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.path(file)).unwrap()
    }

    /// `AB:CD:…`, as openssl shows it.
    pub fn fingerprint(&self, file: &str) -> String {
        let asked = ["x509", "-in", &format!("{file}.pem"), "-noout", "-fingerprint", "-sha256"];
        openssl(&self.folder, &asked).trim().split_once('=').unwrap().1.to_string()
    }
}
