//! A credential: what lets its holder in, without the secret that proves it.

use chrono::{DateTime, Utc};

use crate::domain::{actor::Principal, identity::Identity};

/// A credential without its secret: a token, what a pipeline was given for its ID token, or a session.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Whom it stands for, and what it may do.
    pub principal: Principal,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it stops working.
    pub expires_at: Option<DateTime<Utc>>,
    /// Since when it is revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// Why a credential is good no more, and what to do about it.
pub type Gone = &'static str;

impl Credential {
    /// Whom it stands for at this moment, if it is still good. What is left to a pipeline whose time is over is to finish
    /// what it started: then no scope is left, and it is marked as lingering.
    pub fn at(mut self, now: DateTime<Utc>) -> Result<Principal, Gone> {
        let is_revoked = self.revoked_at.is_some();
        let is_over = self.expires_at.is_some_and(|end| end <= now);
        match &mut self.principal.identity {
            Identity::Token if is_revoked => Err("the token is revoked; ask for another"),
            Identity::Token if is_over => Err("the token has expired; ask for another"),
            Identity::Pipeline(_) if is_revoked => {
                Err("the trust that this credential was given by is gone; ask whoever administers Waybill")
            }
            Identity::Pipeline(pipeline) if is_over && pipeline.lingers_until <= now => {
                Err("the pipeline's credential has expired; exchange the job's ID token again")
            }
            Identity::Pipeline(pipeline) => {
                pipeline.is_lingering = is_over;
                if is_over {
                    self.principal.scopes.clear();
                }
                Ok(self.principal)
            }
            Identity::Session(_) if is_revoked => Err("the session was ended; sign in again"),
            Identity::Session(session) if is_over || session.idle_until <= now => {
                Err("the session has expired; sign in again")
            }
            Identity::Token | Identity::Session(_) => Ok(self.principal),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::*;
    use crate::domain::{
        actor::Actor,
        identity::{Pipeline, Session, SignIn},
        scope::Narrowing,
        vocabulary::Scope,
    };

    fn start() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn minutes(minutes: i64) -> DateTime<Utc> {
        start() + TimeDelta::minutes(minutes)
    }

    fn credential(identity: Identity) -> Credential {
        let principal = Principal {
            token_id: Uuid::nil(),
            identity,
            actor: Actor { token: "t".to_owned(), subject: "s".to_owned() },
            scopes: [Scope::Deploy].into(),
            groups: [].into(),
            narrowing: Narrowing::default(),
        };
        Credential { principal, created_at: start(), expires_at: Some(minutes(10)), revoked_at: None }
    }

    fn pipeline() -> Credential {
        credential(Identity::Pipeline(Pipeline {
            trust: Uuid::nil(),
            issuer: "gitlab".to_owned(),
            commit: None,
            initiator: None,
            lingers_until: minutes(60),
            is_lingering: false,
        }))
    }

    #[test]
    fn a_token_is_good_until_it_ends() {
        let token = credential(Identity::Token);
        assert!(token.clone().at(minutes(9)).is_ok() && token.clone().at(minutes(10)).is_err());
        assert!(Credential { revoked_at: Some(start()), ..token }.at(start()).is_err());
    }

    #[test]
    fn a_pipeline_that_is_over_has_no_scope_left_and_lingers_a_while() {
        let scopes = |at| pipeline().at(minutes(at)).map(|principal| principal.scopes);
        assert_eq!(scopes(9).unwrap(), [Scope::Deploy].into());
        assert_eq!(scopes(10).unwrap(), [].into());
        assert_eq!(scopes(59).unwrap(), [].into());
        assert!(scopes(60).is_err());
        assert!(!pipeline().at(minutes(9)).unwrap().is_lingering());
        assert!(pipeline().at(minutes(10)).unwrap().is_lingering());
        assert!(Credential { revoked_at: Some(start()), ..pipeline() }.at(minutes(20)).is_err());
    }

    #[test]
    fn a_session_ends_when_it_is_idle_too_long() {
        let session = credential(Identity::Session(Session {
            shown_name: None,
            sign_in: SignIn::Token(Uuid::nil()),
            idle_until: minutes(5),
            place: None,
        }));
        assert!(session.clone().at(minutes(4)).is_ok() && session.clone().at(minutes(5)).is_err());
        assert!(Credential { revoked_at: Some(start()), ..session }.at(start()).is_err());
    }
}
