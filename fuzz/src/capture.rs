//! What `kscope kdump` reads of a machine: archives, programs, manifests, images and partitions.

use kscope_kdump::{Config, ImageHeader, Manifest, Superblock, entries, needs};

/// Reads the bytes as each of them; a manifest that is read is written and read alike.
pub fn capture(bytes: &[u8]) -> bool {
    let mut far = false;
    match entries(bytes) {
        Ok(found) => {
            let content: usize = found.iter().map(|entry| entry.content.len()).sum();
            assert!(content <= bytes.len());
            far |= !found.is_empty();
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
    match needs(bytes) {
        Ok(_) => far = true,
        Err(why) => assert!(!why.is_empty()),
    }
    let header = ImageHeader::parse(bytes);
    far |= header.release.is_some_and(|release| !release.is_empty());
    if let Some(superblock) = Superblock::parse(bytes) {
        assert_eq!(superblock.uuid.len(), 36);
        far = true;
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return far;
    };
    if let Some(manifest) = Manifest::parse(text) {
        assert_eq!(Manifest::parse(&manifest.text()), Some(manifest));
        far = true;
    }
    match Config::parse(text) {
        Ok(config) => far |= config != Config::default(),
        Err(why) => assert!(why.way_out().is_some(), "{why}"),
    }
    far
}
