//! API keys: they are parts of roles, so they are logged, transactional and gone with their role.

use perigee_security::api_key;
use perigee_types::catalog::{ApiKey, BOOTSTRAP_ROLE, Role};
use perigee_types::{Row, SqlError, SqlResult, SqlState, Value};

use crate::ddl::role::refuse_predefined;
use crate::engine::Engine;
use crate::identity::missing_role;
use crate::session::Session;

/// Keys of one role.
const KEYS_MAX: usize = 1_000;

/// Who has an API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyHolder {
    /// The role.
    pub role: String,
    /// The key's id.
    pub key: String,
    /// Nothing may be written with it.
    pub read_only: bool,
}

impl Engine {
    /// Whom an API key proves, by the latest catalog: one that was revoked proves nobody from then on.
    #[must_use]
    pub fn api_key_holder(&self, text: &str) -> Option<KeyHolder> {
        let id = api_key::id_of(text)?;
        let catalog = self.store.catalog();
        let (role, key) = catalog.api_key(id)?;
        let is_right = api_key::same(api_key::hash(text).as_bytes(), key.hash.as_bytes());
        let is_over = key.expires.is_some_and(|expires| expires <= self.now_micros());
        (is_right && !is_over).then(|| KeyHolder {
            role: role.name.clone(),
            key: key.id.clone(),
            read_only: key.read_only,
        })
    }
}

impl Session {
    /// Makes a key and gives the row that shows it, once. Who may change the role's password may.
    ///
    /// # Errors
    /// `42704`, `42501`, `22023` for a time that is over, `54000` for too many keys of a role.
    pub(crate) fn create_api_key(
        &mut self,
        role: &str,
        name: &str,
        expires: Option<i64>,
        read_only: bool,
    ) -> SqlResult<Row> {
        let catalog = self.latest_catalog();
        let role = catalog.role(role).cloned().ok_or_else(|| missing_role(role))?;
        if role.oid != BOOTSTRAP_ROLE {
            refuse_predefined(&role, "alter")?;
        }
        if self.identity(&catalog).role.oid != role.oid {
            self.require_manager(&catalog, &role, "alter")?;
        }
        let created = self.engine.now_micros();
        if expires.is_some_and(|expires| expires <= created) {
            return Err(SqlError::new(
                SqlState::InvalidParameterValue,
                "the time of the API key would be over already",
            ));
        }
        if role.api_keys.len() >= KEYS_MAX {
            let text = format!("role \"{}\" has {KEYS_MAX} API keys", role.name);
            return Err(SqlError::new(SqlState::ProgramLimitExceeded, text).hint("CALL perigee.revoke_api_key('id')"));
        }
        let new = api_key::create().map_err(SqlError::internal)?;
        let key = ApiKey { id: new.id.clone(), name: name.to_owned(), hash: new.hash, read_only, created, expires };
        let mut changed = Role::clone(&role);
        changed.api_keys.push(key);
        self.put_role(changed)?;
        self.shows_secret = true;
        Ok(vec![Value::Text(new.id), Value::Text(new.text)])
    }

    /// Revokes a key.
    ///
    /// # Errors
    /// `42704`, `42501`
    pub(crate) fn revoke_api_key(&mut self, id: &str) -> SqlResult<()> {
        let catalog = self.latest_catalog();
        let missing = || SqlError::new(SqlState::UndefinedObject, format!("API key \"{id}\" does not exist"));
        let (role, _) = catalog.api_key(id).ok_or_else(missing)?;
        if self.identity(&catalog).role.oid != role.oid {
            self.require_manager(&catalog, role, "alter")?;
        }
        let mut changed = Role::clone(role);
        changed.api_keys.retain(|key| key.id != id);
        self.put_role(changed)
    }
}
