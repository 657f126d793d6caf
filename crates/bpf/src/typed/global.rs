//! Global variables with types.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::error::Error;
use crate::loader::{Global, Object};
use crate::plain::Plain;

/// A global variable that programs write: `.data` or `.bss`.
#[derive(Clone, Debug)]
pub struct TypedGlobal<T> {
    constant: TypedConstant<T>,
}

impl<T: Plain> TypedGlobal<T> {
    /// Gives the variable at this place in [`Object::variables`] its type.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where the type has another size, or why the variable is not there.
    pub fn new(object: &Arc<Object>, index: usize) -> Result<TypedGlobal<T>, Error> {
        let constant = TypedConstant::new(object, index)?;
        Ok(TypedGlobal { constant })
    }

    /// Reads the value; no system call where the variable is mapped, as clang's are.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn get(&self) -> Result<T, Error> {
        self.constant.get()
    }

    /// Writes the value.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn set(&self, value: &T) -> Result<(), Error> {
        self.constant.untyped()?.set_bytes(&value.to_bytes())
    }

    /// Gives the variable as bytes.
    ///
    /// # Errors
    ///
    /// Why it is not there.
    pub fn untyped(&self) -> Result<Global<'_>, Error> {
        self.constant.untyped()
    }
}

/// A global variable that is a constant once the object is loaded: `.rodata`.
#[derive(Clone, Debug)]
pub struct TypedConstant<T> {
    object: Arc<Object>,
    index: usize,
    ty: PhantomData<fn() -> T>,
}

impl<T: Plain> TypedConstant<T> {
    /// Gives the variable at this place in [`Object::variables`] its type.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where the type has another size, or why the variable is not there.
    pub fn new(object: &Arc<Object>, index: usize) -> Result<TypedConstant<T>, Error> {
        let variable = object.global_at(index)?;
        if variable.size() != T::SIZE {
            return Err(Error::invalid(format!(
                "{} has {} bytes, not {}",
                variable.name(),
                variable.size(),
                T::SIZE
            )));
        }
        Ok(TypedConstant {
            object: object.clone(),
            index,
            ty: PhantomData,
        })
    }

    /// Reads the value.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn get(&self) -> Result<T, Error> {
        Ok(T::decode(&self.untyped()?.bytes()?))
    }

    /// Gives the variable as bytes.
    ///
    /// # Errors
    ///
    /// Why it is not there.
    pub fn untyped(&self) -> Result<Global<'_>, Error> {
        self.object.global_at(self.index)
    }
}
