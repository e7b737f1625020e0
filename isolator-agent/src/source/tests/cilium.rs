//! Tests of the Cilium kinds: what is refused and with which words, and what their texts become. Not here: verdicts
//! (`isolator-tests` replays those of Cilium's own engine).

use super::{assert_said, load, one, said};
use isolator_policy::cluster::change::Object;
use isolator_policy::model::{
    Action, Entity, IdentityRequirement, IdentitySelector, LabelSource, Operator, Peer, Peers, Policy,
    PortMatch, Ports, Rule, RuleList, Severity, Subject,
};

const TCP: u8 = 6;

/// The policy `x/c` with this text below `spec:`, in YAML's flow style.
fn namespaced(spec: &str) -> String {
    format!(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{name: c, namespace: x}}\nspec: {spec}\n"
    )
}

fn clusterwide(spec: &str) -> String {
    format!(
        "apiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata: {{name: c}}\nspec: {spec}\n"
    )
}

#[track_caller]
fn policy(text: &str) -> Policy {
    match one(text) {
        Object::Policy(policy) => policy,
        other => panic!("{other:?}"),
    }
}

/// The rules of egress of all endpoints of `x` with these entries.
#[track_caller]
fn egress(entries: &str) -> Vec<Rule> {
    let policy = policy(&namespaced(&format!("{{endpointSelector: {{}}, egress: {entries}}}")));
    policy.parts.into_iter().next().unwrap().egress.unwrap().rules
}

fn kubernetes(key: &str, operator: Operator) -> IdentityRequirement {
    IdentityRequirement { source: LabelSource::Kubernetes, key: key.into(), operator }
}

fn is(value: &str) -> Operator {
    Operator::In([value.to_owned()].into())
}

#[test]
fn what_cilium_refuses_is_refused_as_a_whole_and_says_where() {
    let entry = |entry: &str| format!("{{endpointSelector: {{}}, egress: [{{}}, {entry}]}}");
    let ports = |ports: &str| entry(&format!("{{toPorts: [{{ports: [{ports}]}}]}}"));
    let l7 =
        |text: &str| entry(&format!("{{toPorts: [{{ports: [{{port: '80', protocol: TCP}}], {text}}}]}}"));
    let many = |one: &str| vec![one; 41].join(", ");
    for (spec, field, words) in [
        ("{endpointSelector: {}}".into(), "spec: ", "all of ingress, ingressDeny, egress and egressDeny are empty"),
        ("{endpointSelector: {}, ingress: []}".into(), "spec: ", "are empty"),
        ("{ingress: [{}]}".into(), "spec: ", "there is no endpointSelector"),
        ("{endpointSelector: {}, nodeSelector: {}, ingress: [{}]}".into(), "spec: ", "exclude each other"),
        ("{nodeSelector: {}, ingress: [{}]}".into(), "spec.nodeSelector: ", "CiliumClusterwideNetworkPolicy"),
        (entry("{toEntities: [world], toEndpoints: [{}]}"), "spec.egress[1]: ", "toEndpoints and toEntities cannot stand"),
        (entry("{toCIDR: [10.0.0.0/8], toCIDRSet: [{cidr: 10.0.0.0/8}]}"), "spec.egress[1]: ", "toCIDR and toCIDRSet"),
        (entry("{icmps: [{}], toPorts: [{}]}"), "spec.egress[1].icmps: ", "cannot stand in one entry"),
        (entry("{toEntities: [World]}"), "spec.egress[1].toEntities[0]: ", "`World` is not an entity"),
        (entry("{toRequires: [{}]}"), "spec.egress[1].toRequires: ", "gone from the API"),
        (entry("{toEndpoints: [null]}"), "spec.egress[1].toEndpoints[0]: ", "must not be null"),
        (entry("null"), "spec.egress[1]: ", "must not be null"),
        (entry("{toPorts: [null]}"), "spec.egress[1].toPorts[0]: ", "must not be null"),
        (ports("null"), "toPorts[0].ports[0]: ", "must not be null"),
        (
            entry("{toEndpoints: [{matchExpressions: [{key: a, operator: In, values: [null]}]}]}"),
            "values[0]: ",
            "must not be null",
        ),
        (entry("{toEndpoints: [{matchLabels: {'a b': x}}]}"), "toEndpoints[0].matchLabels[a b]: ", "`a b`"),
        (entry("{toEndpoints: [{matchLabels: {a: 'x y'}}]}"), "toEndpoints[0].matchLabels.a: ", "not a label's value"),
        (
            entry("{toEndpoints: [{matchExpressions: [{key: a, operator: Gt, values: ['1']}]}]}"),
            "matchExpressions[0].operator: ",
            "`Gt` is not an operator",
        ),
        (entry("{toCIDR: [10.0.0.1]}"), "spec.egress[1].toCIDR[0]: ", "a single address needs its length"),
        (entry("{toCIDR: ['']}"), "spec.egress[1].toCIDR[0]: ", "is not a CIDR"),
        (entry("{toCIDRSet: [{}]}"), "spec.egress[1].toCIDRSet[0]: ", "one of cidr, cidrGroupRef"),
        (entry("{toCIDRSet: [{cidr: 10.0.0.0/8, cidrGroupRef: g}]}"), "toCIDRSet[0]: ", "exclude each other"),
        (
            entry("{toCIDRSet: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16, 11.0.0.0/16]}]}"),
            "toCIDRSet[0].except[1]: ",
            "`11.0.0.0/16` is not inside `10.0.0.0/8`",
        ),
        (entry("{toCIDRSet: [{cidr: 10.1.0.0/16, except: [10.0.0.0/8]}]}"), "except[0]: ", "is not inside"),
        (entry("{toCIDRSet: [{cidrGroupSelector: {}}]}"), "cidrGroupSelector: ", "demands no label"),
        (ports("{protocol: TCP}"), "toPorts[0].ports[0].port: ", "`port` is missing"),
        (ports("{port: '080'}"), "ports[0].port: ", "a leading zero means octal"),
        (ports("{port: '65536'}"), "ports[0].port: ", "`65536` is not a port"),
        (ports("{port: 80}"), "ports[0].port: ", "expected a string"),
        (ports("{port: '80', endPort: 79}"), "ports[0].endPort: ", "endPort 79 must not be below port 80"),
        (ports("{port: '80', endPort: 65536}"), "ports[0].endPort: ", "65536 is not a port"),
        (ports("{port: '0', endPort: 80}"), "ports[0].endPort: ", "port 0 is every port already"),
        (ports("{port: http, endPort: 80}"), "ports[0].endPort: ", "needs a `port` that is a number"),
        (ports("{port: '80', protocol: ICMP}"), "ports[0].protocol: ", "write it in `icmps`"),
        (ports("{port: '80', protocol: EIGRP}"), "ports[0].protocol: ", "`EIGRP` is not a protocol"),
        (ports("{port: '80', protocol: VRRP}"), "ports[0].port: ", "VRRP has no ports"),
        (ports(&many("{port: '80'}")), "toPorts[0].ports: ", "there are 41 ports, more than 40"),
        (entry(&format!("{{icmps: [{{fields: [{}]}}]}}", many("{type: 8}"))), "icmps[0].fields: ", "41 types"),
        (entry("{icmps: [{fields: [{type: Nothing}]}]}"), "fields[0].type: ", "`Nothing` is not a type of ICMP;"),
        (entry("{icmps: [{fields: [{type: 256}]}]}"), "fields[0].type: ", "`256` is not a type"),
        (entry("{icmps: [{fields: [{}]}]}"), "fields[0].type: ", "`type` is missing"),
        (entry("{icmps: [{fields: [{family: IPv5, type: 8}]}]}"), "fields[0].family: ", "`IPv5` is not a family"),
        (l7("rules: {http: [{}], dns: [{matchName: a}]}"), "rules: ", "http and dns exclude each other"),
        (l7("rules: {l7: [{}]}"), "rules.l7: ", "needs `l7proto`"),
        (l7("rules: {l7proto: p, l7: [{'': x}]}"), "rules.l7[0]: ", "without a name"),
        (l7("rules: {http: [[]]}"), "rules.http[0]: ", "expected a map"),
        (l7("serverNames: [a..b]"), "serverNames[0]: ", "is not a server name"),
        (l7("rules: {}"), "rules: ", "one of http, kafka, dns and l7proto is needed"),
        (l7("serverNames: ['']"), "serverNames[0]: ", "must not be empty"),
        (l7("serverNames: [a.b], rules: {http: [{}]}"), "serverNames: ", "need terminatingTLS"),
        (l7("listener: {name: l, envoyConfig: {name: e}}, rules: {http: [{}]}"), "listener: ", "exclude each other"),
        (
            entry("{toPorts: [{ports: [{port: '80', protocol: UDP}], rules: {http: [{}]}}]}"),
            "ports[0].protocol: ",
            "need the protocol TCP",
        ),
        (
            entry("{toPorts: [{ports: [{port: '0', protocol: TCP}], rules: {http: [{}]}}]}"),
            "ports[0].port: ",
            "0 is every port",
        ),
        (entry("{toPorts: [{rules: {dns: [{matchName: a}]}}]}"), "toPorts[0].ports: ", "need a port; write 53"),
        (
            entry("{toPorts: [{ports: [{port: '53', endPort: 54}], rules: {dns: [{matchName: a}]}}]}"),
            "ports[0].endPort: ",
            "no ranges",
        ),
        (entry("{toFQDNs: [{}]}"), "toFQDNs[0]: ", "exactly one of matchName and matchPattern"),
        (entry("{authentication: {mode: never}}"), "authentication.mode: ", "`never` is not a mode"),
        (
            "{endpointSelector: {}, ingress: [{toPorts: [{ports: [{port: '53'}], rules: {dns: [{matchName: a}]}}]}]}".into(),
            "spec.ingress[0].toPorts[0].rules.dns: ",
            "for egress only",
        ),
        (
            "{endpointSelector: {}, ingress: [{toPorts: [{listener: {name: l, envoyConfig: {name: e}}}]}]}".into(),
            "spec.ingress[0].toPorts[0].listener: ",
            "for egress only",
        ),
        (
            "{endpointSelector: {}, ingress: [{}], log: {value: 123456789012345678901234567890123}}".into(),
            "spec.log.value: ",
            "",
        ),
        (
            "{endpointSelector: {}, ingress: [{}], labels: [{value: a}]}".into(),
            "spec.labels[0].key: ",
            "needs a key",
        ),
        (l7("rules: {kafka: [{role: x}]}"), "rules.kafka[0].role: ", "`x` is not a role"),
        (l7("rules: {kafka: [{role: produce, apiKey: fetch}]}"), "rules.kafka[0].role: ", "exclude each other"),
        (entry("{toEndpoint: [{}]}"), "spec.egress[1].toEndpoint: ", "Cilium's API server would drop it"),
        (
            "{endpointSelector: {}, egressDeny: [{toFQDNs: [{matchName: a}]}]}".into(),
            "spec.egressDeny[0].toFQDNs: ",
            "is not known here",
        ),
    ] {
        let loaded = load(&namespaced(&spec));
        assert!(loaded.objects.is_empty(), "accepted: {spec}");
        assert_said(&loaded, &["CiliumNetworkPolicy x/c", field, words]);
    }
}

#[test]
fn one_bad_rule_among_good_ones_refuses_the_object() {
    let text = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: c, namespace: x}\nspecs:\n\
                - {endpointSelector: {}, ingress: [{}]}\n- {endpointSelector: {}, egress: []}\n";
    let loaded = load(text);
    assert!(loaded.objects.is_empty());
    assert_said(&loaded, &["f.yaml:6:", "specs[1]: "]);
    assert_said(
        &load("apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: c}\n"),
        &["neither"],
    );
}

#[test]
fn what_is_not_enforced_allows_nothing_and_leaves_the_rest_alone() {
    for (entry, field) in [
        ("{toPorts: [{ports: [{port: '80', protocol: TCP}], rules: {http: [{}]}}]}", "toPorts[0].rules"),
        ("{toPorts: [{ports: [{port: '53'}], rules: {dns: [{matchPattern: '*'}]}}]}", "toPorts[0].rules"),
        ("{toPorts: [{ports: [{port: '80', protocol: TCP}], rules: {l7proto: r2d2}}]}", "toPorts[0].rules"),
        ("{toPorts: [{ports: [{port: '443'}], serverNames: [a.b]}]}", "toPorts[0].serverNames"),
        (
            "{toPorts: [{ports: [{port: '443'}], terminatingTLS: {secret: {name: s}}}]}",
            "toPorts[0].terminatingTLS",
        ),
        (
            "{toPorts: [{ports: [{port: '80'}], listener: {name: l, envoyConfig: {name: e}}}]}",
            "toPorts[0].listener",
        ),
        ("{toPorts: [{ports: [{port: '80'}, {port: '0', protocol: VRRP}]}]}", "toPorts[0].ports[1].protocol"),
        ("{toPorts: [{ports: [{protocol: VRRP}]}]}", "toPorts[0].ports[0].protocol"),
        // Since Cilium 1.20.
        ("{toPorts: [{ports: [{port: '0', protocol: gre}]}]}", "toPorts[0].ports[0].protocol"),
        ("{toPorts: [{ports: [{port: '443'}], serverNames: ['*', 'a*.b']}]}", "toPorts[0].serverNames"),
        ("{toFQDNs: [{matchName: a.org}], toPorts: [{ports: [{port: '443'}]}]}", "toFQDNs"),
        ("{toEndpoints: [{}], authentication: {mode: required}}", "authentication"),
        ("{toGroups: [{aws: {region: r}}]}", "toGroups"),
    ] {
        let loaded = load(&namespaced(&format!(
            "{{endpointSelector: {{}}, egress: [{entry}, {{toEntities: [world]}}]}}"
        )));
        assert_said(&loaded, &["unenforced-field", &format!("spec.egress[0].{field}: "), "allows nothing"]);
        let [Object::Policy(policy)] = &loaded.objects[..] else { panic!("{entry}: {:?}", said(&loaded)) };
        let egress = policy.parts[0].egress.as_ref().unwrap();
        assert!(egress.default_deny);
        assert_eq!(egress.rules[0].peers, Peers::OneOf(vec![]), "{entry}");
        assert_eq!(egress.rules[1].peers, Peers::OneOf(vec![Peer::Entity(Entity::World)]));
    }
}

#[test]
fn a_deny_of_groups_nobody_knows_denies_everything_outside() {
    let loaded = load(&namespaced("{endpointSelector: {}, egressDeny: [{toGroups: [{aws: {region: r}}]}]}"));
    assert_said(&loaded, &["unenforced-field", "denies everything outside the cluster"]);
    let [Object::Policy(policy)] = &loaded.objects[..] else { panic!("{:?}", said(&loaded)) };
    let rule = &policy.parts[0].egress.as_ref().unwrap().rules[0];
    assert_eq!((rule.action, &rule.peers), (Action::Deny, &Peers::OneOf(vec![Peer::Entity(Entity::World)])));
}

#[test]
fn policies_for_nodes_are_checked_and_left_out_loudly() {
    let loaded = load(&clusterwide("{nodeSelector: {}, ingress: [{}]}"));
    let [problem] = &loaded.problems[..] else { panic!("{:?}", said(&loaded)) };
    assert_eq!(
        (problem.severity, problem.code, &*problem.field),
        (Severity::Error, "unenforced-field", "spec.nodeSelector")
    );
    assert_eq!(loaded.objects.len(), 1);
    assert_said(
        &load(&clusterwide("{nodeSelector: {}, ingress: [{fromEntities: [x]}]}")),
        &["not an entity"],
    );
}

#[test]
fn the_four_lists_become_rules_that_know_their_place() {
    let spec = "{endpointSelector: {}, enableDefaultDeny: {ingress: false, egress: true}, \
                ingress: [{fromEntities: [none]}], ingressDeny: [{}, {fromEntities: [all]}]}";
    let policy = policy(&namespaced(spec));
    let ingress = policy.parts[0].ingress.as_ref().unwrap();
    let places: Vec<_> =
        ingress.rules.iter().map(|rule| (rule.at.list, rule.at.index, rule.action)).collect();
    let deny = Action::Deny;
    let list = RuleList::IngressDeny;
    assert_eq!(places, [(RuleList::Ingress, 0, Action::Allow), (list, 0, deny), (list, 1, deny)]);
    assert!(!ingress.default_deny);
    // `true` where nothing is said does nothing.
    assert_eq!(policy.parts[0].egress, None);
    let nobody = Peers::OneOf(vec![]);
    assert_eq!([&ingress.rules[0].peers, &ingress.rules[1].peers], [&nobody, &nobody]);
}

#[test]
fn absent_null_and_empty_differ_as_in_cilium() {
    let nobody = Peers::OneOf(vec![]);
    let port = || Ports::OneOf(vec![PortMatch::Range { protocol: TCP, first: 80, last: 80 }]);
    let with =
        |peers: &str| egress(&format!("[{{{peers} toPorts: [{{ports: [{{port: '80', protocol: TCP}}]}}]}}]"));
    for (peers, wanted) in [
        ("", Peers::Any),
        ("toEndpoints: null,", Peers::Any),
        ("toEndpoints: [],", nobody.clone()),
        ("toEntities: [],", nobody.clone()),
        ("toCIDRSet: [],", nobody.clone()),
        ("toFQDNs: [],", nobody.clone()),
        ("toEndpoints: [], toEntities: [world],", nobody.clone()),
    ] {
        let rule = &with(peers)[0];
        assert_eq!((&rule.peers, &rule.ports), (&wanted, &port()), "{peers}");
    }
    for (entry, peers, ports) in [
        ("{}", nobody.clone(), Ports::Any),
        ("{toPorts: []}", nobody, Ports::Any),
        ("{toPorts: [{}]}", Peers::Any, Ports::OneOf(vec![])),
        ("{icmps: [{}]}", Peers::Any, Ports::OneOf(vec![])),
    ] {
        let rule = &egress(&format!("[{entry}]"))[0];
        assert_eq!((&rule.peers, &rule.ports), (&peers, &ports), "{entry}");
    }
}

#[test]
fn everything_in_any_cluster_is_everything_in_this_one() {
    let rules = egress("[{toEntities: [cluster-mesh]}]");
    assert_eq!(rules[0].peers, Peers::OneOf(vec![Peer::Entity(Entity::Cluster)]));
}

#[test]
fn selectors_of_peers_stay_where_the_policy_is_unless_they_say_more() {
    const NAMESPACE: &str = "io.kubernetes.pod.namespace";
    const TEAM: &str = "io.cilium.k8s.namespace.labels.team";
    let any =
        |key: &str, operator| IdentityRequirement { source: LabelSource::Any, key: key.into(), operator };
    let own = || kubernetes(NAMESPACE, is("x"));
    let cluster = || kubernetes("io.cilium.k8s.policy.cluster", Operator::Exists);
    let host = || IdentityRequirement { source: LabelSource::Reserved, key: "host".into(), operator: is("") };
    for (selector, wanted) in [
        ("{}", vec![own()]),
        ("{matchLabels: {app: a}}", vec![any("app", is("a")), own()]),
        ("{matchLabels: {'k8s:app': a}}", vec![kubernetes("app", is("a")), own()]),
        ("{matchLabels: {'any:io.kubernetes.pod.namespace': z}}", vec![any(NAMESPACE, is("z")), cluster()]),
        (
            "{matchExpressions: [{key: io.kubernetes.pod.namespace, operator: DoesNotExist}]}",
            vec![any(NAMESPACE, Operator::DoesNotExist), cluster()],
        ),
        ("{matchLabels: {'k8s:io.cilium.k8s.namespace.labels.team': a}}", vec![kubernetes(TEAM, is("a"))]),
        ("{matchLabels: {'reserved:host': ''}}", vec![host()]),
        ("{matchLabels: {reserved.host: ''}}", vec![host()]),
        ("{matchLabels: {'unspec:app': a}}", vec![any("app", is("a")), own()]),
        ("{matchLabels: {'unspec:io.kubernetes.pod.namespace': z}}", vec![any(NAMESPACE, is("z")), own()]),
    ] {
        let rules = egress(&format!("[{{toEndpoints: [{selector}]}}]"));
        assert_eq!(
            rules[0].peers,
            Peers::OneOf(vec![Peer::Labelled(IdentitySelector::new(wanted))]),
            "{selector}"
        );
    }
    let wide = policy(&clusterwide("{endpointSelector: {}, ingress: [{fromEndpoints: [{}]}]}"));
    let wanted = IdentitySelector::new([kubernetes(NAMESPACE, Operator::Exists)]);
    let rules = &wide.parts[0].ingress.as_ref().unwrap().rules;
    assert_eq!(rules[0].peers, Peers::OneOf(vec![Peer::Labelled(wanted)]));
    assert_eq!(
        wide.parts[0].subject,
        Subject::Labelled { namespace: None, identity: IdentitySelector::default() }
    );
}

/// Each version of Cilium refuses keys that the other takes; here both are taken, and what the newer refuses is said.
#[test]
fn keys_that_one_version_of_cilium_takes_are_taken_and_those_it_refuses_are_named() {
    let labelled = |key: &str| {
        namespaced(&format!(
            "{{endpointSelector: {{}}, egress: [{{toEndpoints: [{{matchExpressions: [{{key: '{key}', operator: Exists}}]}}]}}]}}"
        ))
    };
    for (key, read, cure) in [
        (":app", "any:app", "write that"),
        ("$host", "reserved:host", "write that"),
        ("x=y", "any:x", "write that"),
        ("k8s:x=y", "k8s:x", "write that"),
        ("a-b:app", "a-b:app", "no label has"),
        ("k8s.x:app", "k8s:x.app", "write that"),
        ("-a", "any:-a", "no label has"),
    ] {
        let loaded = load(&labelled(key));
        assert_eq!(loaded.objects.len(), 1, "{key}: {:?}", said(&loaded));
        let words = [&format!("the key `{key}`"), &format!("reads it as `{read}`"), cure];
        assert_said(
            &loaded,
            &["odd-key", "toEndpoints[0].matchExpressions[0]: ", words[0], words[1], words[2]],
        );
    }
    let longest = "x".repeat(63);
    for key in
        [format!("k8s:{longest}"), longest.clone(), format!("{}/a", ["y".repeat(63).as_str(); 3].join("."))]
    {
        let loaded = load(&labelled(&key));
        assert!(loaded.problems.is_empty() && loaded.objects.len() == 1, "{key}: {:?}", said(&loaded));
    }
    for key in [":", "k8s:", "a:b:c", "k8s:a:b", "/a", "a b", "k8s:ä", &format!("k8s:{longest}x")] {
        let loaded = load(&labelled(key));
        assert!(loaded.objects.is_empty(), "{key}");
        assert_said(&loaded, &["CiliumNetworkPolicy x/c", &format!("the key `{key}` ")]);
    }
}

#[test]
fn a_policy_in_a_namespace_never_selects_endpoints_of_another() {
    let spec =
        "{endpointSelector: {matchLabels: {'k8s:io.kubernetes.pod.namespace': z, app: a}}, ingress: [{}]}";
    let loaded = load(&namespaced(spec));
    assert_said(&loaded, &["foreign-namespace", "spec.endpointSelector: ", "`x` alone"]);
    let [Object::Policy(policy)] = &loaded.objects[..] else { panic!("{:?}", said(&loaded)) };
    let app = IdentityRequirement { source: LabelSource::Any, key: "app".into(), operator: is("a") };
    let wanted = Subject::Labelled { namespace: Some("x".into()), identity: IdentitySelector::new([app]) };
    assert_eq!(policy.parts[0].subject, wanted);
}

#[test]
fn harmless_fields_are_let_pass() {
    let spec = "{endpointSelector: {}, ingress: [{fromRequires: []}], description: d, log: {value: l}, \
                labels: [{key: a, source: k8s, value: b}]}";
    policy(&(namespaced(spec) + "status: {conditions: []}\n"));
}
