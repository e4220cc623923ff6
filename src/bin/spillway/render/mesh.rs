//! Where in an Istio mesh the filter is, and by which of Istio's APIs it gets there.

use super::yaml::scalar;

/// Which of Istio's proxies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// A gateway that clients reach from outside.
    #[default]
    Gateway,
    /// The proxy beside an application, for what that sends.
    Sidecar,
    /// The proxy of an ambient mesh.
    Waypoint,
}

impl Place {
    /// By its name on the command line.
    pub(super) fn of(name: &str) -> Result<Self, String> {
        match name {
            "gateway" => Ok(Self::Gateway),
            "sidecar" => Ok(Self::Sidecar),
            "waypoint" => Ok(Self::Waypoint),
            other => Err(format!("--at: {other:?} isn't gateway, sidecar or waypoint")),
        }
    }

    /// What the manifests' heads say of it.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Gateway => "Spillway on an Istio gateway.",
            Self::Sidecar => "Spillway in the sidecars of applications.",
            Self::Waypoint => "Spillway on a waypoint of an ambient mesh.",
        }
    }
}

/// What of the command line is about Istio.
#[derive(Debug, Default)]
pub(super) struct Mesh {
    pub(super) place: Place,
    /// By Istio's own API alone, without an EnvoyFilter.
    pub(super) plain: bool,
    /// A TrafficExtension instead of a WasmPlugin.
    pub(super) extension: bool,
    pub(super) namespace: Option<String>,
    /// A label of the proxies' pods, `KEY=VALUE`; of a waypoint its name.
    pub(super) selector: Option<String>,
    /// What clients call.
    pub(super) host: Option<String>,
    /// The Gateway by which they come in.
    pub(super) gateway: Option<String>,
}

impl Mesh {
    /// What can't be, said in words.
    pub(super) fn fits(&self) -> Result<(), String> {
        match (self.place, self.label()) {
            (Place::Waypoint, _) if !self.plain => {
                Err("--at waypoint: EnvoyFilters don't reach waypoints, so it goes with --plain".to_owned())
            }
            (Place::Gateway | Place::Sidecar, None) => {
                Err("--selector: a label is written KEY=VALUE, such as istio=ingressgateway".to_owned())
            }
            (Place::Gateway | Place::Sidecar | Place::Waypoint, _) => Ok(()),
        }
    }

    pub(super) fn namespace(&self) -> &str {
        let usual = match self.place {
            Place::Gateway => "istio-ingress",
            Place::Sidecar | Place::Waypoint => "default",
        };
        self.namespace.as_deref().unwrap_or(usual)
    }

    pub(super) fn host(&self) -> &str {
        let usual = match self.place {
            Place::Gateway => "*",
            Place::Sidecar | Place::Waypoint => "llm.internal",
        };
        self.host.as_deref().unwrap_or(usual)
    }

    /// Of a VirtualService.
    pub(super) fn gateway(&self) -> &str {
        match self.place {
            Place::Gateway => self.gateway.as_deref().unwrap_or("llm"),
            Place::Sidecar | Place::Waypoint => "mesh",
        }
    }

    /// The context of an EnvoyFilter's patches.
    pub(super) fn context(&self) -> &'static str {
        match self.place {
            Place::Gateway => "GATEWAY",
            Place::Sidecar | Place::Waypoint => "SIDECAR_OUTBOUND",
        }
    }

    /// The label of the proxies' pods as a member of a map.
    pub(super) fn label(&self) -> Option<String> {
        let (key, value) = self.selector().split_once('=')?;
        Some(format!("{}: {}", scalar(key), scalar(value)))
    }

    /// The waypoint's name.
    pub(super) fn waypoint(&self) -> &str {
        self.selector()
    }

    /// Which proxies run the plugin, as members of its `spec`.
    pub(super) fn target(&self) -> String {
        let label = self.label().unwrap_or_default();
        match self.place {
            Place::Gateway => format!("selector: {{matchLabels: {{{label}}}}}\n"),
            Place::Sidecar => {
                format!(
                    "selector: {{matchLabels: {{{label}}}}}\n# What the application sends, not what it gets.\nmatch: [{{mode: CLIENT}}]\n"
                )
            }
            Place::Waypoint => format!(
                "targetRefs: [{{group: gateway.networking.k8s.io, kind: Gateway, name: {}}}]\n",
                scalar(self.waypoint())
            ),
        }
    }

    fn selector(&self) -> &str {
        let usual = match self.place {
            Place::Gateway => "istio=ingressgateway",
            Place::Sidecar => "spillway=enabled",
            Place::Waypoint => "waypoint",
        };
        self.selector.as_deref().unwrap_or(usual)
    }
}
