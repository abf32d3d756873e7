// Package images tests what hack/images.sh builds: that each image exists for
// both architectures, runs as a user that is nobody, holds a static program and
// nothing to run beside it, and that one of them, unpacked, works.
//
// The images are looked for in .cache/images; FLOWSTITCH_IMAGES_BUILD=1 builds
// them first, twice, and compares the digests.
package images
