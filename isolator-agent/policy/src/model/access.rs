//! Who may change objects of the cluster, as far as tenancy depends on it: roles and their bindings
//! (rbac.authorization.k8s.io/v1). Not here: what follows from it (`lint`); the datapath knows nothing of them.

use super::{Labels, Selector};
use std::collections::BTreeSet;
use std::fmt;

/// All roles and bindings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Roles of both kinds.
    pub roles: Vec<Role>,
    /// Bindings of both kinds.
    pub bindings: Vec<Binding>,
}

/// A Role, or a ClusterRole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its namespace; `None`: a ClusterRole.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// What it permits.
    pub permissions: Vec<Permission>,
    /// It also permits what the ClusterRoles permit that one of these selects.
    pub aggregates: Vec<Selector>,
}

/// What a role permits: each of the verbs on each of the resources of each of the groups. `*` is all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permission {
    /// What may be done, as `update`.
    pub verbs: BTreeSet<String>,
    /// API groups; the core group is empty.
    pub groups: BTreeSet<String>,
    /// Kinds of objects, as `namespaces` or `namespaces/status`.
    pub resources: BTreeSet<String>,
    /// Only objects of these names; empty: all.
    pub names: BTreeSet<String>,
}

/// A RoleBinding, or a ClusterRoleBinding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Its namespace; `None`: a ClusterRoleBinding.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Whether the role is a ClusterRole.
    pub cluster_role: bool,
    /// The role's name.
    pub role: String,
    /// Who gets the role.
    pub accounts: Vec<Account>,
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "RoleBinding {namespace}/{}", self.name),
            None => write!(f, "ClusterRoleBinding {}", self.name),
        }
    }
}

/// Somebody who may get a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// A service account.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A person or program outside the cluster.
    User(String),
    /// A group of accounts.
    Group(String),
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Account::ServiceAccount { namespace, name } => write!(f, "ServiceAccount {namespace}/{name}"),
            Account::User(name) => write!(f, "User {name}"),
            Account::Group(name) => write!(f, "Group {name}"),
        }
    }
}
