//! `/environments/{environment}/policy`: the rules of an environment's gate.

use poem_openapi::{
    Object, OpenApi,
    param::{Header, Path, Query},
    payload::Json,
};

use crate::{
    api::{
        Tags,
        auth::Auth,
        etag,
        reply::{Changed, Reply},
    },
    domain::{environment::Environment, policy::Policy, vocabulary::Preset},
    http::problem::Problem,
    usecase::{environments, policies},
};

/// The operations.
#[derive(Debug)]
pub struct PoliciesApi;

/// The policy of an environment.
#[derive(Clone, Debug, Object)]
#[oai(rename = "EnvironmentPolicy")]
pub struct PolicyView {
    /// The environment.
    pub environment: String,
    /// Counts the changes, from 1; 0 where nobody has set a policy.
    pub version: i64,
    /// The rules.
    pub policy: Policy,
}

fn reply(environment: Environment) -> Reply<PolicyView, Changed> {
    let version = environment.policy.version;
    let view =
        PolicyView { environment: environment.name.to_string(), version, policy: environment.policy.policy };
    Reply::at(version, &view)
}

#[OpenApi(tag = "Tags::Gate")]
impl PoliciesApi {
    /// Read an environment's policy
    ///
    /// Every rule with all its settings, those that nobody has set too. With `preset`, what that preset would be here
    /// instead: send it back with PUT to set it. A preset that demands more than there is to demand is a conflict.
    #[oai(path = "/environments/:environment/policy", method = "get", operation_id = "get_policy")]
    async fn get_policy(
        &self,
        auth: Auth,
        /// The environment's name.
        environment: Path<String>,
        /// A policy to begin with: made up for this environment, and not set.
        preset: Query<Option<Preset>>,
    ) -> Result<Reply<PolicyView, Changed>, Problem> {
        let ctx = auth.ctx();
        Ok(reply(match preset.0 {
            Some(preset) => policies::preset(&ctx, &environment.0, preset).await?,
            None => environments::get(&ctx, &environment.0).await?,
        }))
    }

    /// Set an environment's policy
    ///
    /// As a whole: a section that is left out is as it is without any policy, one that is given is enforced unless its
    /// `mode` says otherwise. Every start from then on is judged by it. The same policy again changes nothing.
    #[oai(path = "/environments/:environment/policy", method = "put", operation_id = "set_policy")]
    async fn set_policy(
        &self,
        auth: Auth,
        /// The environment's name.
        environment: Path<String>,
        /// The ETag of the policy that is to be replaced, `"0"` where none is set; without it, the last one wins.
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
        body: Json<Policy>,
    ) -> Result<Reply<PolicyView, Changed>, Problem> {
        let expected = etag::if_match(if_match.0.as_deref());
        Ok(reply(policies::set(&auth.ctx(), &environment.0, &expected, &body.0).await?))
    }
}
