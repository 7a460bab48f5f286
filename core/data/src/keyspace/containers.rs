//! Keys whose value is a container: read in place, changed in place, gone when empty.

use super::item::Body;
use super::{KeepObject, Keyspace, NewValue, Ttl, Value};
use crate::value::{Container, Object};
use crate::{Context, Refused};
use base::Stamp;

/// What [`Keyspace::change`] does about a key that isn't there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// An empty container is made; it stays if something is put in.
    Make,
    /// Nothing is done.
    Leave,
}

/// Whether a change was one: only then a WATCH is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    Yes,
    No,
}

impl From<bool> for Changed {
    fn from(changed: bool) -> Self {
        if changed { Self::Yes } else { Self::No }
    }
}

impl Keyspace {
    /// The container at `key`: nothing, or an error if it is of another type.
    pub fn container<C: Container>(&self, cx: &Context, key: &[u8]) -> Result<Option<&C>, Refused> {
        match self.get(cx, key).map(|live| live.value) {
            None => Ok(None),
            Some(Value::Other(object)) => C::of(object).map(Some).ok_or(Refused::WrongType),
            Some(Value::Str(_) | Value::Large(_)) => Err(Refused::WrongType),
        }
    }

    /// Lets the container at `key` be changed. `None` if it is not there and was not to be made. A container that ends up
    /// empty goes with its key; the key's expiry stays as it is.
    pub fn change<C: Container, T>(
        &mut self,
        cx: &Context,
        key: &[u8],
        absent: Absent,
        change: impl FnOnce(&mut C) -> (T, Changed),
    ) -> Result<Option<T>, Refused> {
        if self.container::<C>(cx, key)?.is_none() {
            if absent == Absent::Leave {
                return Ok(None);
            }
            let mut new = C::default();
            let (told, _) = change(&mut new);
            if C::STAYS_EMPTY || !new.is_empty() {
                self.put(cx.db, key, NewValue::Object(new.into()), None);
            }
            return Ok(Some(told));
        }
        let address = self.address(cx.db, key);
        let item = self.place(cx.db, address, key).expect("the key is alive");
        self.save_first(cx.db, item);
        self.keep_first(cx.db, key, Some(item));
        let home = &mut self.dbs[usize::from(cx.db)];
        let Body::Object(number) = super::item::view(home.items.get(item)).body else {
            unreachable!("a container is an object")
        };
        let (told, changed, gone) = home.objects.change(number, |object| {
            let inner = C::of_mut(object).expect("the type was looked at");
            let (told, changed) = change(inner);
            (told, changed, !C::STAYS_EMPTY && inner.is_empty())
        });
        if gone {
            self.take(cx.db, key);
        } else if changed == Changed::Yes {
            self.touch(cx.db, address, key);
        }
        Ok(Some(told))
    }

    /// Sets `key` to a value of any type, replacing what stands there; an empty container removes the key.
    pub fn set_object(&mut self, cx: &Context, key: &[u8], object: impl Into<Object>, ttl: Ttl) {
        let expire_at = match ttl {
            Ttl::Clear => None,
            Ttl::At(stamp) => Some(stamp),
            Ttl::Keep => self.get(cx, key).and_then(|live| live.expire_at),
        };
        let object = object.into();
        if object.goes_when_empty() {
            self.take(cx.db, key);
        } else {
            self.put(cx.db, key, NewValue::Object(object), expire_at);
        }
    }

    /// Gives a live key's value and expiry another name, replacing what stands there; false if it isn't there.
    pub fn rename(&mut self, cx: &Context, from: &[u8], to: &[u8]) -> bool {
        let Some(live) = self.get(cx, from) else { return false };
        let (expire_at, apart) = (live.expire_at, matches!(live.value, Value::Other(_)));
        if !apart {
            self.copy(cx, from, cx.db, to);
            self.take(cx.db, from);
            return true;
        }
        self.move_object(cx.db, from, to, expire_at);
        true
    }

    /// Moves the object of `from`, which is alive and has one, without a copy.
    fn move_object(&mut self, db: u8, from: &[u8], to: &[u8], expire_at: Option<Stamp>) {
        let address = self.address(db, from);
        let Some(Body::Object(number)) = self.find_body(db, address, from) else {
            unreachable!("the caller saw an object")
        };
        self.take_keeping(db, from, KeepObject::Yes);
        let address = self.address(db, to);
        self.swap(db, address, to, Body::Object(number), expire_at, KeepObject::No);
    }
}
