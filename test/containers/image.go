package containers

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"

	"github.com/passcode-worker/passcode-worker/test/harness"
)

const (
	serverPackage = "github.com/nats-io/nats-server/v2"
	// imageTimeout bounds one build of an image, the compiler not counted.
	imageTimeout = 3 * time.Minute
	// testLabel marks the images that are built here. Those that no container
	// uses are removed, by a later build, when they are older than keepImages.
	testLabel  = "passcode-worker.test-image"
	keepImages = "24h"
)

// image is one that is built from a single binary and kept under a digest of what
// goes into it, so that it is built again only where that has changed, and test
// processes that run at once share it.
type image struct {
	repo       string
	dockerfile string
	file       string // the binary's name, as the Dockerfile knows it
}

var (
	natsParts   = image{repo: "passcode-worker-nats-test", dockerfile: "build/nats/Dockerfile", file: "nats-server"}
	workerParts = image{repo: "passcode-worker-test", dockerfile: "Dockerfile", file: "worker"}
)

// NATSImage returns the name of the server's image: NATS_IMAGE where it is set,
// otherwise one that is built from build/nats/Dockerfile and the server that
// go.mod pins.
func NATSImage(t testing.TB) string {
	t.Helper()
	if name := os.Getenv("NATS_IMAGE"); name != "" {
		return name
	}
	return made(t, natsImage)
}

// WorkerImage returns the name of the worker's own image, built from Dockerfile
// and this source. The binary is static, and so without the race detector.
func WorkerImage(t testing.TB) string {
	t.Helper()
	return made(t, workerImage)
}

func made(t testing.TB, build func() (string, error)) string {
	t.Helper()
	Require(t)
	name, err := build()
	if err != nil {
		t.Fatalf("build an image: %v", err)
	}
	return name
}

var natsImage = sync.OnceValues(func() (string, error) {
	root, err := harness.Root()
	if err != nil {
		return "", err
	}
	// The server's source is what go.mod says, so its image is known without the
	// compiler.
	tag, err := imageTag(root, natsParts.dockerfile, "go.mod", "go.sum")
	if err != nil {
		return "", err
	}
	return natsParts.build(root, tag, func() (string, error) {
		return harness.Build(harness.Target{Name: "nats-server", Package: serverPackage, Static: true})
	})
})

var workerImage = sync.OnceValues(func() (string, error) {
	root, err := harness.Root()
	if err != nil {
		return "", err
	}
	binary, err := harness.Build(harness.Target{Name: "worker-static", Package: "./cmd/worker", Static: true})
	if err != nil {
		return "", err
	}
	inRepo, err := filepath.Rel(root, binary)
	if err != nil {
		return "", err
	}
	tag, err := imageTag(root, workerParts.dockerfile, inRepo)
	if err != nil {
		return "", err
	}
	return workerParts.build(root, tag, func() (string, error) { return binary, nil })
})

// build returns the image's name, and builds it unless there is one.
func (i image) build(root, tag string, binary func() (path string, err error)) (string, error) {
	p, err := provider()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), imageTimeout,
		fmt.Errorf("the image took longer than %v", imageTimeout))
	defer cancel()
	name := i.repo + ":" + tag
	if _, err := p.Client().ImageInspect(ctx, name); err == nil {
		return name, nil
	}

	// Whatever kept the image from being found, building it shows.
	if _, err := p.Client().ImagePrune(ctx, client.ImagePruneOptions{Filters: oldImages()}); err != nil {
		return "", errors.Join(err, context.Cause(ctx))
	}
	path, err := binary()
	if err != nil {
		return "", err
	}
	arch := runtime.GOARCH
	buildContext, err := archive(map[string]string{
		"Dockerfile":                       filepath.Join(root, i.dockerfile),
		"bin/linux/" + arch + "/" + i.file: path,
	})
	if err != nil {
		return "", err
	}
	return p.BuildImage(ctx, &testcontainers.ContainerRequest{
		FromDockerfile: testcontainers.FromDockerfile{
			ContextArchive: buildContext, Repo: i.repo, Tag: tag, KeepImage: true,
			BuildArgs:            map[string]*string{"TARGETARCH": &arch},
			BuildOptionsModifier: func(o *client.ImageBuildOptions) { o.Labels = map[string]string{testLabel: "true"} },
		},
	})
}

func oldImages() client.Filters {
	return client.Filters{}.Add("label", testLabel).Add("dangling", "false").Add("until", keepImages)
}

// imageTag is a digest of all that an image is made from: the compiler, and the
// files named.
func imageTag(root string, files ...string) (string, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, runtime.Version(), runtime.GOARCH)
	for _, name := range files {
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
