package containers

import (
	"fmt"
	"maps"
	"testing"

	"github.com/passcode-worker/passcode-worker/test/harness"
)

const (
	emulatorAlias = "emulator"
	emulatorPort  = "9080"
)

// Emulator is an emulated Aliyun in a container of the worker's own image.
type Emulator struct {
	*Container
	*harness.Admin
}

// StartEmulator starts an emulated Aliyun in a network. When the test ends its
// output is searched for phone numbers and for the values that it must not show.
func StartEmulator(t testing.TB, network *Network, forbidden []string, args ...string) *Emulator {
	t.Helper()
	c := start(t, recipe{
		what: "the emulator", image: WorkerImage(t), args: harness.EmulatorArgs("0.0.0.0:"+emulatorPort, args...),
		port: emulatorPort + "/tcp", says: "listening on", network: network, alias: emulatorAlias,
	})
	c.checkOutput(forbidden)
	return &Emulator{Container: c, Admin: harness.AdminAt(t, fmt.Sprintf("http://127.0.0.1:%d", c.port))}
}

// StartWorker starts a worker of this name in a network, from the worker's own
// image, that sends to the emulator there, and waits until it is ready. Settings
// are added to the usual ones. Its output is searched as the emulator's is.
func StartWorker(t testing.TB, network *Network, name, natsURL string, settings map[string]string, forbidden []string) *Container {
	t.Helper()
	env := harness.WorkerEnv(natsURL, emulatorAlias+":"+emulatorPort)
	maps.Copy(env, settings)
	c := start(t, recipe{
		what: "worker " + name, image: WorkerImage(t), args: []string{"run"}, env: env,
		says: `"msg":"ready"`, network: network, alias: name,
	})
	c.checkOutput(append(forbidden, harness.AccessKeySecret))
	return c
}

func (c *Container) checkOutput(forbidden []string) {
	c.t.Cleanup(func() { harness.CheckOutput(c.t, c.Log(), forbidden...) })
}
