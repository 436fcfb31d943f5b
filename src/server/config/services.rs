//! The variables that Kubernetes sets in each container for each service of its namespace. Those of a service called
//! `roomring` or `roomring-control` have the prefix of the server's own. Knows no key.

/// Whether Kubernetes sets a variable of this name and value: `<SERVICE>_SERVICE_HOST`, `<SERVICE>_SERVICE_PORT`,
/// `<SERVICE>_SERVICE_PORT_<NAME>`, `<SERVICE>_PORT` and `<SERVICE>_PORT_<NUMBER>_<PROTOCOL>`, the last one also with
/// `_PROTO`, `_PORT` and `_ADDR`.
#[must_use]
pub fn is_of_service(name: &str, value: &str) -> bool {
    if !name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_') {
        return false;
    }
    let ends = |end: &str| name.strip_suffix(end).is_some_and(|service| !service.is_empty());
    let has_named_port =
        || name.split_once("_SERVICE_PORT_").is_some_and(|(service, port)| !service.is_empty() && !port.is_empty());
    // A number alone may be meant for a key.
    let is_link = |value: &str| ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    ends("_SERVICE_HOST")
        || ends("_SERVICE_PORT")
        || has_named_port()
        || (ends("_PORT") && is_link(value))
        || is_of_port(name)
}

/// `<SERVICE>_PORT_<NUMBER>_<PROTOCOL>` and its longer forms.
fn is_of_port(name: &str) -> bool {
    let name = ["_PROTO", "_PORT", "_ADDR"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    let port = ["_TCP", "_UDP", "_SCTP"].iter().find_map(|end| name.strip_suffix(end));
    let Some((service, number)) = port.and_then(|port| port.rsplit_once("_PORT_")) else { return false };
    !service.is_empty() && number.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::config::keys::KEYS;

    #[test]
    fn every_variable_of_a_service_is_known() {
        // As the kubelet makes them for a service with two ports, one of them named.
        for service in ["ROOMRING", "ROOMRING_CONTROL", "ROOMRING_SERVER_2", "ROOMRING__LOG", "ROOMRING_PORT"] {
            for (end, value) in [
                ("SERVICE_HOST", "10.96.0.7"),
                ("SERVICE_PORT", "8081"),
                ("SERVICE_PORT_HTTP_API", "8081"),
                ("PORT", "tcp://10.96.0.7:8081"),
                ("PORT", "udp://[fd00::7]:8081"),
                ("PORT", "sctp://10.96.0.7:8081"),
                ("PORT_8081_TCP", "tcp://10.96.0.7:8081"),
                ("PORT_8081_TCP_PROTO", "tcp"),
                ("PORT_8081_TCP_PORT", "8081"),
                ("PORT_8081_TCP_ADDR", "10.96.0.7"),
                ("PORT_53_UDP", "udp://10.96.0.7:53"),
                ("PORT_53_UDP_PROTO", "udp"),
                ("PORT_53_UDP_PORT", "53"),
                ("PORT_53_UDP_ADDR", "10.96.0.7"),
                ("PORT_9_SCTP", "sctp://10.96.0.7:9"),
                ("PORT_9_SCTP_PROTO", "sctp"),
                ("PORT_9_SCTP_PORT", "9"),
                ("PORT_9_SCTP_ADDR", "10.96.0.7"),
            ] {
                let name = format!("{service}_{end}");
                assert!(is_of_service(&name, value), "{name}={value}");
            }
        }
    }

    #[test]
    fn others_are_not() {
        for (name, value) in [
            ("ROOMRING_PORT", "8080"),
            ("ROOMRING_CONTROL_PORT", "8081"),
            ("ROOMRING_CONTROL_PORT", "127.0.0.1:8081"),
            ("ROOMRING_SERVICE", "x"),
            ("ROOMRING_SERVICE_HOSTS", "10.0.0.1"),
            ("ROOMRING_SERVICE_PORT_", "1"),
            ("ROOMRING_PORT_TCP", "tcp://10.0.0.1:1"),
            ("ROOMRING_PORT_X_TCP", "tcp://10.0.0.1:1"),
            ("ROOMRING_PORT_99999_TCP", "tcp://10.0.0.1:1"),
            ("ROOMRING_PORT_80_QUIC", "10.0.0.1"),
            ("ROOMRING_PORT_80_TCP_HOST", "10.0.0.1"),
            ("roomring_service_host", "10.0.0.1"),
            ("_SERVICE_HOST", "10.0.0.1"),
        ] {
            assert!(!is_of_service(name, value), "{name}={value}");
        }
        for key in KEYS {
            assert!(!is_of_service(&key.env_name(), "tcp://10.0.0.1:80"), "{} could never be set", key.env_name());
        }
    }
}
