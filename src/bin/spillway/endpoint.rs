//! Where a provider is found, and whether the way there must be encrypted.
//!
//! A policy names clusters, not addresses. What it says of a provider's authority is enough for public APIs; what is
//! missing can be told on the command line.

use std::net::IpAddr;

use spillway::policy::Provider;

/// An address and how to speak to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// A DNS name or an IP address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Over TLS, the host's name verified.
    pub(crate) tls: bool,
}

/// What `--endpoint` takes.
pub(crate) const URL: &str = "PROVIDER=http://HOST:PORT or PROVIDER=https://HOST[:PORT]";

impl Endpoint {
    /// By the provider's authority; without one by its cluster's name: `outbound|8000||HOST` as Istio has it, or a host.
    pub(crate) fn of(provider: &Provider) -> Self {
        Self::of_parts(&provider.cluster, provider.authority.as_deref())
    }

    /// The same for what is no provider.
    pub(crate) fn of_parts(cluster: &str, authority: Option<&str>) -> Self {
        match (authority, istio(cluster)) {
            (Some(authority), _) => Self::usual(authority),
            (None, Some((host, port))) => Self {
                host: host.to_owned(),
                port,
                tls: port == 443,
            },
            (None, None) => Self::usual(cluster),
        }
    }

    /// Of `http://HOST:PORT` or `https://HOST[:PORT]`.
    pub(crate) fn of_url(url: &str) -> Option<Self> {
        let (tls, rest) = match url.split_once("://")? {
            ("https", rest) => (true, rest),
            ("http", rest) => (false, rest),
            _ => return None,
        };
        let (host, port) = split(rest.trim_end_matches('/'));
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        let named =
            !host.is_empty() && !host.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control());
        named.then(|| Self {
            host: host.to_owned(),
            port,
            tls,
        })
    }

    fn usual(authority: &str) -> Self {
        let (host, port) = split(authority);
        let tls = is_public(host) || port == Some(443);
        Self {
            host: host.to_owned(),
            port: port.unwrap_or(if tls { 443 } else { 80 }),
            tls,
        }
    }

    /// Whether the host is an address, not a name.
    pub(crate) fn is_address(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok()
    }
}

/// `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT`.
fn split(authority: &str) -> (&str, Option<u16>) {
    if let Some((host, rest)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match authority.split_once(':') {
        Some((host, port)) if !port.contains(':') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (authority, None),
        },
        _ => (authority, None),
    }
}

/// The host and port of Istio's name for a service's cluster: `outbound|PORT|SUBSET|HOST`.
pub(crate) fn istio(cluster: &str) -> Option<(&str, u16)> {
    let mut parts = cluster.strip_prefix("outbound|")?.split('|');
    let port = parts.next()?.parse().ok()?;
    Some((parts.nth(1).filter(|host| !host.is_empty())?, port))
}

/// Names that no public DNS server answers for (RFC 6761, RFC 6762, RFC 8375; `internal` reserved by ICANN), and
/// Kubernetes' short form.
const LOCAL: [&str; 7] = [
    ".local",
    ".localhost",
    ".internal",
    ".home.arpa",
    ".test",
    ".lan",
    ".svc",
];

/// Whether a host is reached over networks that aren't ours.
pub(crate) fn is_public(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => {
            !(ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified())
        }
        Ok(IpAddr::V6(ip)) => !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()),
        Err(_) => {
            let host = host.to_ascii_lowercase();
            host.contains('.') && !LOCAL.iter().any(|suffix| host.ends_with(suffix))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Endpoint, is_public};

    fn shown(endpoint: &Endpoint) -> String {
        let scheme = if endpoint.tls { "https" } else { "http" };
        format!("{scheme}://{} {}", endpoint.host, endpoint.port)
    }

    #[test]
    fn a_public_authority_is_reached_over_tls_and_a_local_one_plainly() {
        for (authority, expected) in [
            ("api.openai.com", "https://api.openai.com 443"),
            ("llm.example.com:8443", "https://llm.example.com 8443"),
            ("vllm", "http://vllm 80"),
            ("vllm:8000", "http://vllm 8000"),
            (
                "vllm.models.svc.cluster.local:8000",
                "http://vllm.models.svc.cluster.local 8000",
            ),
            ("gateway.internal:443", "https://gateway.internal 443"),
            ("10.0.0.1:8000", "http://10.0.0.1 8000"),
            ("[::1]:8000", "http://::1 8000"),
            ("8.8.8.8", "https://8.8.8.8 443"),
        ] {
            assert_eq!(shown(&Endpoint::usual(authority)), expected);
        }
    }

    #[test]
    fn a_url_says_all_of_it() {
        let of = |url| Endpoint::of_url(url).map(|endpoint| shown(&endpoint));
        assert_eq!(
            of("http://localhost:8000/").as_deref(),
            Some("http://localhost 8000")
        );
        assert_eq!(
            of("https://[2001:db8::1]").as_deref(),
            Some("https://2001:db8::1 443")
        );
        for wrong in ["localhost:8000", "ftp://a", "http://", "http://a/b", "http://a b"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn istio_s_name_for_a_cluster_holds_its_address() {
        assert_eq!(super::istio("outbound|8000||vllm.svc"), Some(("vllm.svc", 8000)));
        assert_eq!(super::istio("outbound|8000"), None);
        assert_eq!(super::istio("openai"), None);
    }

    #[test]
    fn public_is_what_a_public_resolver_may_answer_for() {
        assert!(is_public("api.anthropic.com") && !is_public("localhost") && !is_public("a.LOCAL"));
        assert!(!is_public("127.0.0.1") && !is_public("fd00::1") && is_public("2606:4700::1"));
    }
}
