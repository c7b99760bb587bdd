package containers

import (
	"context"
	"debug/buildinfo"
	"path/filepath"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/test/harness"
)

// TestWorkerImage: what the Dockerfile promises.
func TestWorkerImage(t *testing.T) {
	t.Parallel()
	name := WorkerImage(t)
	p, err := provider()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	image, err := p.Client().ImageInspect(ctx, name)
	require.NoError(t, err)
	assert.Equal(t, "65532:65532", image.Config.User, "not root")
	assert.Equal(t, []string{"CMD", "/worker", "health"}, image.Config.Healthcheck.Test)
	assert.Equal(t, []string{"/worker"}, image.Config.Entrypoint)
	assert.Equal(t, []string{"run"}, image.Config.Cmd)
	assert.Len(t, image.RootFS.Layers, 1, "the binary and nothing else")

	root, err := harness.Root()
	require.NoError(t, err)
	info, err := buildinfo.ReadFile(filepath.Join(root, "bin", "test", "worker-static"))
	require.NoError(t, err)
	settings, modules := map[string]string{}, map[string]bool{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	for _, m := range info.Deps {
		modules[m.Path] = true
	}
	assert.Equal(t, "0", settings["CGO_ENABLED"], "static")
	assert.True(t, modules["golang.org/x/crypto/x509roots/fallback"], "root certificates are inside")
}

// TestImagesAreKept for a day, and may go after it.
func TestImagesAreKept(t *testing.T) {
	t.Parallel()
	name := WorkerImage(t)
	p, err := provider()
	require.NoError(t, err)
	image, err := p.Client().ImageInspect(t.Context(), name)
	require.NoError(t, err)
	assert.Equal(t, "true", image.Config.Labels[testLabel], "so that a later build finds it when it is old")
	_, err = p.Client().ImagePrune(t.Context(), client.ImagePruneOptions{Filters: oldImages()})
	require.NoError(t, err)
	_, err = p.Client().ImageInspect(t.Context(), name)
	require.NoError(t, err)
}
