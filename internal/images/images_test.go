package images

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/segmentio/encoding/json"
)

const root = "../.."

// descriptor, manifest and config are what matters of the OCI image format.
type descriptor struct {
	Digest      string            `json:"digest"`
	Annotations map[string]string `json:"annotations"`
	Platform    struct {
		Architecture string `json:"architecture"`
	} `json:"platform"`
}

type manifest struct {
	Manifests []descriptor `json:"manifests"` // of an index
	Config    descriptor   `json:"config"`
	Layers    []descriptor `json:"layers"`
}

type config struct {
	Architecture string `json:"architecture"`
	Config       struct {
		User       string
		Entrypoint []string
		Env        []string
	} `json:"config"`
}

// layout returns the directory with the images, or skips.
func layout(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(root, ".cache", "images")
	if os.Getenv("FLOWSTITCH_IMAGES_BUILD") == "1" {
		dir = filepath.Join(t.TempDir(), "images")
		build(t, dir)
	}
	if _, err := os.Stat(filepath.Join(dir, "index.json")); err != nil {
		t.Skip("no images in .cache/images: make images, or set FLOWSTITCH_IMAGES_BUILD=1")
	}
	return dir
}

func build(t *testing.T, dir string) {
	t.Helper()
	cmd := exec.Command("bash", "hack/images.sh", dir)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("hack/images.sh: %v\n%s", err, out)
	}
}

func read(t *testing.T, dir, digest string, v any) {
	t.Helper()
	name := "index.json"
	if digest != "" {
		name = filepath.Join("blobs", strings.ReplaceAll(digest, ":", "/"))
	}
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// images returns the manifest and configuration of each image for each
// architecture, by "program/architecture".
func images(t *testing.T, dir string) (map[string]manifest, map[string]config) {
	t.Helper()
	var top manifest
	read(t, dir, "", &top)
	ms, cs := map[string]manifest{}, map[string]config{}
	for _, d := range top.Manifests {
		var index manifest
		read(t, dir, d.Digest, &index)
		for _, p := range index.Manifests {
			var m manifest
			var c config
			read(t, dir, p.Digest, &m)
			read(t, dir, m.Config.Digest, &c)
			if len(c.Config.Entrypoint) != 1 {
				t.Errorf("%s: entry point %v", p.Digest, c.Config.Entrypoint)
				continue
			}
			key := filepath.Base(c.Config.Entrypoint[0]) + "/" + c.Architecture
			ms[key], cs[key] = m, c
		}
	}
	return ms, cs
}

func TestImages(t *testing.T) {
	dir := layout(t)
	ms, cs := images(t, dir)
	for _, name := range []string{"ingest", "sessionize", "detect", "flowstitch"} {
		for _, arch := range []string{"amd64", "arm64"} {
			c, ok := cs[name+"/"+arch]
			if !ok {
				t.Errorf("no image of %s for %s", name, arch)
			} else if c.Config.User != "65532:65532" {
				t.Errorf("%s/%s runs as %q", name, arch, c.Config.User)
			}
		}
	}
	if t.Failed() {
		return
	}
	key := "flowstitch/amd64"
	fs := unpack(t, dir, ms[key])
	for _, shell := range []string{"bin/sh", "bin/bash", "usr/bin/env"} {
		if _, err := os.Stat(filepath.Join(fs, shell)); err == nil {
			t.Errorf("the image has %s", shell)
		}
	}
	out := run(t, fs, cs[key].Config.Entrypoint[0], "gen", "-lines", "100", "-no-attacks")
	if n := strings.Count(out, "\n"); n < 100 {
		t.Errorf("gen in the image wrote %d lines: %s", n, out)
	}
	fs = unpack(t, dir, ms["sessionize/amd64"])
	if out := run(t, fs, cs["sessionize/amd64"].Config.Entrypoint[0], "-check"); !strings.Contains(out, "good") {
		t.Errorf("sessionize -check in the image: %s", out)
	}
}

// unpack lays an image's layers out in a directory.
func unpack(t *testing.T, dir string, m manifest) string {
	t.Helper()
	fs := t.TempDir()
	for _, l := range m.Layers {
		b, err := os.ReadFile(filepath.Join(dir, "blobs", strings.ReplaceAll(l.Digest, ":", "/")))
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		untar(t, fs, tar.NewReader(z))
	}
	return fs
}

func untar(t *testing.T, fs string, r *tar.Reader) {
	t.Helper()
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(fs, filepath.Clean("/"+h.Name))
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(path, 0o755)
		case tar.TypeReg:
			var b []byte
			if b, err = io.ReadAll(r); err == nil {
				err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, h.FileInfo().Mode().Perm()))
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// run starts a program of an unpacked image; as root in a chroot and as user
// 65532, as a kubelet would, else in place.
func run(t *testing.T, fs, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(fs, program), args...)
	cmd.Env = []string{"PATH=/ko-app"}
	if os.Geteuid() == 0 {
		for p := fs; p != os.TempDir() && p != "/"; p = filepath.Dir(p) {
			_ = os.Chmod(p, 0o755) // the user of the image must be able to enter
		}
		cmd = &exec.Cmd{Path: program, Args: append([]string{program}, args...), Dir: "/", Env: cmd.Env,
			SysProcAttr: &syscall.SysProcAttr{Chroot: fs, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
	return string(out)
}

// TestReproducible builds twice and compares.
func TestReproducible(t *testing.T) {
	if os.Getenv("FLOWSTITCH_IMAGES_BUILD") != "1" {
		t.Skip("FLOWSTITCH_IMAGES_BUILD=1 builds the images twice and compares their digests")
	}
	var got [2]manifest
	for i := range got {
		dir := filepath.Join(t.TempDir(), "images")
		build(t, dir)
		read(t, dir, "", &got[i])
	}
	for i := range got[0].Manifests {
		if got[0].Manifests[i].Digest != got[1].Manifests[i].Digest {
			t.Errorf("image %d: %s, then %s", i, got[0].Manifests[i].Digest, got[1].Manifests[i].Digest)
		}
	}
}
