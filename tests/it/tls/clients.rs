//! Clients that others have written: which versions they get, and whether they know whom they talk to.

use super::{SecureHub, curl};
use crate::hub::{READER, binary, payment};
use std::io::Write;
use std::process::{Command, Stdio};

/// What `openssl s_client` says when it asks for `/healthz`, and whether it was content.
pub fn s_client(secure: &SecureHub, arguments: &[&str]) -> (bool, String) {
    let (ca, address) = (secure.pki("ca.pem"), format!("127.0.0.1:{}", secure.port));
    let mut openssl = Command::new("openssl");
    openssl.args(["s_client", "-connect", &address, "-CAfile", &ca, "-verify_return_error", "-ign_eof"]);
    openssl.args(["-alpn", "h2,http/1.1"]).args(arguments);
    openssl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = openssl.spawn().unwrap();
    let request = b"GET /healthz HTTP/1.1\r\nHost: hub.example\r\nConnection: close\r\n\r\n";
    // Where the handshake fails, nobody reads it.
    let _ = child.stdin.take().unwrap().write_all(request);
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn openssl_gets_tls_1_3_and_1_2_and_nothing_older() {
    let secure = SecureHub::start("", "", |_| ());
    for (version, shown) in [("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2")] {
        let (content, said) = s_client(&secure, &[version, "-verify_hostname", "hub.example"]);
        assert!(content && said.contains("HTTP/1.1 200 OK"), "{version}: {said}");
        for part in [shown, "ALPN protocol: http/1.1", "Verify return code: 0 (ok)"] {
            assert!(said.contains(part), "{version}: no `{part}` in {said}");
        }
    }
    // By the version alone: openssl would speak it.
    for (version, wanted) in [("-tls1_2", true), ("-tls1_1", false), ("-tls1", false)] {
        let (content, said) = s_client(&secure, &[version, "-cipher", "DEFAULT:@SECLEVEL=0"]);
        assert!(content == wanted && (wanted || said.contains("SSL alert number")), "{version}: {said}");
    }
    let (content, said) = s_client(&secure, &["-verify_hostname", "other.example"]);
    assert!(!content && said.contains("ostname mismatch"), "{said}");
    // HTTP/2 is not spoken.
    let (content, said) = s_client(&secure, &["-alpn", "h2"]);
    assert!(!content && said.contains("no application protocol"), "{said}");
}

#[test]
fn curl_knows_whom_it_talks_to() {
    let secure = SecureHub::start("", "", |_| ());
    let key = format!("Authorization: Bearer {READER}");
    let answer = secure.curl("/v1/messages", &["--header", &key]);
    assert_eq!((answer.exit, answer.status), (0, 200), "{answer:?}");
    for version in ["1.2", "1.3"] {
        let answer = secure.curl("/healthz", &["--tls-max", version, &format!("--tlsv{version}")]);
        assert_eq!((answer.exit, answer.body.as_str()), (0, "ok\n"), "{version}: {answer:?}");
    }
    let elsewhere = format!("other.example:{}:127.0.0.1", secure.port);
    let url = format!("https://other.example:{}/healthz", secure.port);
    let answer = curl(&url, &["--resolve", &elsewhere, "--cacert", &secure.pki("ca.pem")]);
    assert_eq!(answer.exit, 60, "{answer:?}");
    let resolved = format!("hub.example:{}:127.0.0.1", secure.port);
    let answer = curl(&format!("https://hub.example:{}/healthz", secure.port), &["--resolve", &resolved]);
    assert_eq!(answer.exit, 60, "an authority that curl does not know: {answer:?}");
}

const PYTHON: &str = r#"
import http.client, socket, ssl, sys
port, ca, key = int(sys.argv[1]), sys.argv[2], sys.argv[3]
for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = context.maximum_version = version
    client = http.client.HTTPSConnection("localhost", port, context=context, timeout=20)
    # Three requests of one connection.
    for path, wanted in (("/healthz", 200), ("/v1/messages", 200), ("/v1/nothing", 404)):
        client.request("GET", path, headers={"Authorization": "Bearer " + key})
        answer = client.getresponse()
        answer.read()
        assert answer.status == wanted, (path, answer.status)
    print(client.sock.version())
    client.close()
try:
    context = ssl.create_default_context(cafile=ca)
    context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="other.example")
    print("connected")
except ssl.SSLCertVerificationError as error:
    print(error.verify_message)
"#;

#[test]
fn python_makes_several_requests_of_one_connection() {
    let secure = SecureHub::start("", "", |_| ());
    let script = ["-c", PYTHON, &secure.port.to_string(), &secure.pki("ca.pem"), READER];
    let output = Command::new("python3").args(script).output().expect("python3 is not installed");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let wrong = "Hostname mismatch, certificate is not valid for 'other.example'.";
    assert_eq!(said.lines().collect::<Vec<_>>(), ["TLSv1.2", "TLSv1.3", wrong]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_speaks_https_and_shows_a_certificate() {
    let entry = "client-ca = \"pki/ca.pem\"\n[[http.keys]]\nname = \"shift\"\ncertificate = \"dns:shift.example\"\nrights = [\"read\"]\n";
    let secure = SecureHub::start("", &format!("client-certificates = \"optional\"\n{entry}"), |authority| {
        authority.sign("shift", "/CN=shift", "DNS:shift.example", super::LONG);
    });
    secure.hub.publish(&payment("p-1", "0042", "1.00")).await;
    let busbar = |more: &[&str]| {
        let mut busbar = Command::new(binary());
        busbar.args(["--json", "messages", "--url", &secure.hub.url]).args(more);
        for name in ["BUSBAR_URL", "BUSBAR_KEY", "BUSBAR_CA", "BUSBAR_CERTIFICATE", "BUSBAR_CERTIFICATE_KEY"] {
            busbar.env_remove(name);
        }
        let output = busbar.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (ca, pem, key) = (secure.pki("ca.pem"), secure.pki("shift.pem"), secure.pki("shift.key"));
    let found = busbar(&["--ca", &ca, "--key", READER]);
    assert!(found.0 == Some(0) && found.1.contains("p-1"), "{found:?}");
    let found = busbar(&["--ca", &ca, "--certificate", &pem, "--certificate-key", &key]);
    assert!(found.0 == Some(0) && found.1.contains("p-1"), "{found:?}");
    let found = busbar(&["--ca", &ca]);
    assert!(found.0 == Some(1) && found.1.contains("unauthorized"), "{found:?}");
    let found = busbar(&["--key", READER]);
    assert!(found.0 == Some(1) && found.1.contains("certificate"), "{found:?}");
    assert_eq!(busbar(&["--ca", &ca, "--certificate", &pem]).0, Some(2), "a certificate without its key");
    let found = busbar(&["--ca", &secure.pki("nothing.pem")]);
    assert!(found.0 == Some(1) && found.1.contains("nothing.pem"), "{found:?}");
}
