//! Values that don't stand beside their key, by number.

use crate::value::Object;

/// Values that don't fit beside their key: large strings and the other types.
#[derive(Debug, Default)]
pub(super) struct Objects {
    places: Vec<Option<Object>>,
    free: Vec<u32>,
    pub(super) bytes: usize,
}

impl Objects {
    /// Bytes of the objects and of their places.
    pub(super) fn used_bytes(&self) -> usize {
        self.bytes + self.places.len() * size_of::<Option<Object>>()
    }

    pub(super) fn get(&self, number: u32) -> &Object {
        self.places[number as usize].as_ref().expect("an item names a live object")
    }

    /// Lets an object be changed; what it takes is counted anew.
    pub(super) fn change<T>(&mut self, number: u32, change: impl FnOnce(&mut Object) -> T) -> T {
        let object = self.places[number as usize].as_mut().expect("an item names a live object");
        self.bytes -= object.bytes();
        let told = change(object);
        self.bytes += object.bytes();
        told
    }

    pub(super) fn insert(&mut self, object: Object) -> u32 {
        self.bytes += object.bytes();
        if let Some(number) = self.free.pop() {
            self.places[number as usize] = Some(object);
            return number;
        }
        self.places.push(Some(object));
        u32::try_from(self.places.len() - 1).expect("memory ends before four thousand million objects")
    }

    pub(super) fn remove(&mut self, number: u32) -> Object {
        let object = self.places[number as usize].take().expect("an item names a live object");
        self.bytes -= object.bytes();
        self.free.push(number);
        object
    }
}
