//! Users and their permissions.

use serde_json::{Value as Json, json};

use super::access::Need::Administrator;
use super::answer::Answer;
use super::route::{Call, Reply, Resource};
use crate::model::user::{Hash, Permission, User};

pub(super) const RESOURCES: &[Resource] = &[
    Resource { path: "users", methods: &[("GET", Administrator, list)] },
    Resource {
        path: "users/without-permissions",
        methods: &[("GET", Administrator, without_permissions)],
    },
    Resource { path: "users/bulk-delete", methods: &[("POST", Administrator, bulk_delete)] },
    Resource {
        path: "users/{user}",
        methods: &[
            ("GET", Administrator, show),
            ("PUT", Administrator, set),
            ("DELETE", Administrator, delete),
        ],
    },
    Resource {
        path: "users/{user}/permissions",
        methods: &[("GET", Administrator, permissions_of_user)],
    },
    Resource {
        path: "vhosts/{vhost}/permissions",
        methods: &[("GET", Administrator, permissions_here)],
    },
    Resource { path: "permissions", methods: &[("GET", Administrator, permissions_here)] },
    // Whether the virtual host is there is the answer's business here.
    Resource {
        path: "permissions/{of}/{user}",
        methods: &[
            ("GET", Administrator, permission),
            ("PUT", Administrator, set_permission),
            ("DELETE", Administrator, delete_permission),
        ],
    },
];

fn shown(user: &User) -> Json {
    json!({
        "name": &*user.name,
        "tags": user.tags,
        "password_hash": user.password.text(),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "limits": {},
    })
}

fn list(call: &mut Call<'_>) -> Reply {
    Ok(Answer::ok(call.core.model.users.0.values().map(shown).collect()))
}

fn without_permissions(call: &mut Call<'_>) -> Reply {
    let users = call.core.model.users.0.values().filter(|user| user.permissions.is_empty());
    Ok(Answer::ok(users.map(shown).collect()))
}

fn known<'a>(call: &'a Call<'_>, name: &str) -> Result<&'a User, Answer> {
    call.core.model.users.0.get(name).ok_or_else(Answer::unknown)
}

fn show(call: &mut Call<'_>) -> Reply {
    Ok(Answer::ok(shown(known(call, call.name(0))?)))
}

fn set(call: &mut Call<'_>) -> Reply {
    let name = call.name(0);
    let object = call.object()?;
    let tags = object.list("tags")?.ok_or_else(|| Answer::bad("tags_not_present"))?;
    let tags: Vec<&str> = tags.iter().map(|tag| &**tag).collect();
    let is_new = !call.core.model.users.0.contains_key(name);
    match (object.text("password")?, object.text("password_hash")?) {
        (Some(_), Some(_)) => {
            return Err(Answer::bad("both_password_and_password_hash_are_provided"));
        }
        (Some(password), None) if !password.is_empty() => {
            call.core.set_user(name, password, &tags);
        }
        (_, Some(hash)) => {
            let no_hash = || Answer::bad(json!(["not_base64", hash]));
            let hash = Hash::read(hash).ok_or_else(no_hash)?;
            call.core.set_user_hash(name, hash, &tags);
        }
        // Nobody can log in as this user.
        _ => call.core.set_user_hash(name, Hash::default(), &tags),
    }
    Ok(Answer::put(is_new))
}

fn delete(call: &mut Call<'_>) -> Reply {
    if call.core.delete_user(call.name(0)) { Ok(Answer::done()) } else { Err(Answer::unknown()) }
}

fn bulk_delete(call: &mut Call<'_>) -> Reply {
    let object = call.object()?;
    object.needs(&["users"])?;
    let users = object.get("users").and_then(Json::as_array).cloned().unwrap_or_default();
    for user in users.iter().filter_map(Json::as_str) {
        call.core.delete_user(user);
    }
    Ok(Answer::done())
}

fn shown_permission(user: &str, vhost: &str, permission: &Permission) -> Json {
    json!({
        "user": user,
        "vhost": vhost,
        "configure": permission.configure.text(),
        "write": permission.write.text(),
        "read": permission.read.text(),
    })
}

fn permissions_of(user: &User) -> impl Iterator<Item = (&str, Json)> {
    let all = user.permissions.iter();
    all.map(|(vhost, it)| (&**vhost, shown_permission(&user.name, vhost, it)))
}

fn permissions_here(call: &mut Call<'_>) -> Reply {
    let all = call.core.model.users.0.values().flat_map(permissions_of);
    Ok(Answer::ok(all.filter(|(vhost, _)| call.is_here(vhost)).map(|(_, it)| it).collect()))
}

fn permissions_of_user(call: &mut Call<'_>) -> Reply {
    let user = known(call, call.name(0))?;
    Ok(Answer::ok(permissions_of(user).map(|(_, it)| it).collect()))
}

fn permission(call: &mut Call<'_>) -> Reply {
    let (vhost, name) = (call.name(0), call.name(1));
    let permission = call.core.model.users.permission(name, vhost);
    let permission = permission.ok_or_else(Answer::unknown)?;
    Ok(Answer::ok(shown_permission(name, vhost, permission)))
}

fn set_permission(call: &mut Call<'_>) -> Reply {
    let (vhost, name) = (call.name(0), call.name(1));
    let is_there = call.core.model.vhosts.contains_key(vhost);
    if !is_there || !call.core.model.users.0.contains_key(name) {
        return Err(Answer::bad("vhost_or_user_not_found"));
    }
    let object = call.object()?;
    object.needs(&["configure", "write", "read"])?;
    let pattern = |key: &str| Ok::<_, Answer>(object.text(key)?.unwrap_or_default());
    let (configure, write, read) = (pattern("configure")?, pattern("write")?, pattern("read")?);
    let permission = Permission::new(configure, write, read)
        .map_err(|error| Answer::bad(json!(["invalid_regexp", error.to_string()])))?;
    let is_new = call.core.model.users.permission(name, vhost).is_none();
    call.core.set_permission(name, vhost, Some(permission))?;
    Ok(Answer::put(is_new))
}

fn delete_permission(call: &mut Call<'_>) -> Reply {
    let (vhost, name) = (call.name(0), call.name(1));
    if call.core.model.users.permission(name, vhost).is_none() {
        return Err(Answer::unknown());
    }
    call.core.set_permission(name, vhost, None)?;
    Ok(Answer::done())
}
