package containers

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/testcontainers/testcontainers-go"

	"github.com/passcode-worker/passcode-worker/test/harness"
)

const (
	serverPackage = "github.com/nats-io/nats-server/v2"
	imageRepo     = "passcode-worker-nats"
	dockerfile    = "build/nats/Dockerfile"
	// imageTimeout bounds one build of the image, the compiler not counted.
	imageTimeout = 3 * time.Minute
)

// NATSImage returns the name of the image to run: NATS_IMAGE where it is set,
// otherwise one that is built from build/nats/Dockerfile. Its tag is a digest of
// what goes into it, so that it is built again only where that has changed, and
// test processes that run at once share it.
func NATSImage(t testing.TB) string {
	t.Helper()
	if name := os.Getenv("NATS_IMAGE"); name != "" {
		return name
	}
	Require(t)
	name, err := natsImage()
	if err != nil {
		t.Fatalf("build the NATS image: %v", err)
	}
	return name
}

var natsImage = sync.OnceValues(func() (string, error) {
	root, err := harness.Root()
	if err != nil {
		return "", err
	}
	tag, err := imageTag(root)
	if err != nil {
		return "", err
	}
	name := imageRepo + ":" + tag
	provider, err := testcontainers.NewDockerProvider(quiet)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), imageTimeout,
		fmt.Errorf("the image took longer than %v", imageTimeout))
	defer cancel()
	if _, err := provider.Client().ImageInspect(ctx, name); err == nil {
		return name, nil
	}

	// Whatever kept the image from being found, building it shows.
	server, err := harness.Build(harness.Target{Name: "nats-server", Package: serverPackage, Static: true})
	if err != nil {
		return "", err
	}
	buildContext, err := archive(map[string]string{
		"Dockerfile":      filepath.Join(root, dockerfile),
		"bin/nats-server": server,
	})
	if err != nil {
		return "", err
	}
	return provider.BuildImage(ctx, &testcontainers.ContainerRequest{
		FromDockerfile: testcontainers.FromDockerfile{
			ContextArchive: buildContext, Repo: imageRepo, Tag: tag, KeepImage: true,
		},
	})
})

// imageTag is a digest of all that the image is made from: the recipe, the
// modules that the server is built from, and the compiler.
func imageTag(root string) (string, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, runtime.Version(), runtime.GOARCH)
	for _, name := range []string{dockerfile, "go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return "", err
		}
		fmt.Fprintln(sum, name, len(data))
		sum.Write(data)
	}
	return hex.EncodeToString(sum.Sum(nil))[:16], nil
}

// archive puts files under new names into a tar archive.
func archive(files map[string]string) (*bytes.Reader, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(data))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return bytes.NewReader(b.Bytes()), nil
}
