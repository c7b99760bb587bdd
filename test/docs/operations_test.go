package docs

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/passcode-worker/passcode-worker/test/deployed"
	"github.com/passcode-worker/passcode-worker/test/harness"
)

// wrongID is the request that docs/operations.md looks at: it died of a template
// that is approved meanwhile.
const wrongID = "01JD3V7S4N"

// TestOperations runs every command of docs/operations.md, in its order: check
// and health as the worker of deploy/nats, all others as its operator.
func TestOperations(t *testing.T) {
	t.Parallel()
	doc := read(t, "operations.md")
	s := startWard(t, workDir(t))
	expected := []struct{ command, shows string }{
		{"worker check ", "config   1 "},
		{"worker request", "worker dlq show " + wrongID},
		{"worker dlq list", "template, signature or parameters are wrong"},
		{"worker dlq replay", "became sent: 1"},
		{"worker dlq export", "discarded: 1"},
		{"worker check\n", "template"},
		{"worker resume", ""},
		{"worker limits", ""},
		{"worker pause", ""},
		{"worker provision --dry-run", "equal"},
		{"worker bench", "The emulator accepted 2,000 of 2,000 jobs: none lost, none sent twice."},
	}
	blocks := doc.of("sh")
	require.Len(t, blocks, len(expected), "a block without expectation, or the other way round")
	for i, want := range expected {
		t.Run(want.command, func(t *testing.T) { // one after the other: they go on from one another
			require.Contains(t, blocks[i].text, want.command)
			output := s.run(t, blocks[i].text)
			assert.Contains(t, output, want.shows)
			assert.NotContains(t, output, phone)
		})
	}
	sent := map[string]int{}
	for _, one := range s.emulator.Sent() {
		sent[one.OutID]++
	}
	assert.Equal(t, map[string]int{wrongID: 1}, sent)
}

// startWard starts a system in which two jobs have died, one of them of a cause
// that is mended.
func startWard(t *testing.T, dir string) *stage {
	t.Helper()
	bin := harness.BuildWorker(t)
	broker := deployed.Start(t)
	emulator := harness.StartEmulator(t, bin, "--fault", "code=isv.SMS_TEMPLATE_ILLEGAL,count=1")
	asWorker, asOperator := emulator.WorkerEnv(broker.As(deployed.Worker)), emulator.WorkerEnv(broker.As(deployed.Operator))
	require.Zero(t, harness.StartWorker(t, bin, asOperator, "provision").Wait(bound))
	asWorker["PASSCODE_HTTP__LISTEN"] = "127.0.0.1:0"
	w := harness.StartWorker(t, bin, asWorker, "run")
	_, address, _ := strings.Cut(w.WaitFor(`"msg":"HTTP listens"`, bound), `"address":"`)
	address, _, _ = strings.Cut(address, `"`)
	asWorker["PASSCODE_HTTP__LISTEN"] = address
	w.WaitFor(`"msg":"ready"`, bound)

	js, err := jetstream.New(broker.ConnectAs(deployed.Producer))
	require.NoError(t, err)
	for _, body := range []string{
		fmt.Sprintf(`{"request_id":%q,"phone":%q,"code":"749302"}`, wrongID, phone),
		fmt.Sprintf(`{"request_id":"wrong","phone":%q}`, phone),
	} {
		_, err := js.Publish(t.Context(), "passcode.send", []byte(body))
		require.NoError(t, err)
	}
	s := &stage{dir: dir, emulator: emulator, env: os.Environ()}
	s.users(t, bin, asWorker, asOperator)
	require.Eventually(t, func() bool {
		output, err := s.command("worker dlq list --json")
		return err == nil && strings.Count(output, "\n") == 2
	}, bound, 100*time.Millisecond)
	holdMetrics(t, address)
	return s
}

// users puts a "worker" on the path that types each command as its user.
func (s *stage) users(t *testing.T, bin string, asWorker, asOperator map[string]string) {
	t.Helper()
	exports := func(env map[string]string) string {
		var b strings.Builder
		for name, value := range env {
			fmt.Fprintf(&b, "export %s='%s'\n", name, value)
		}
		return b.String()
	}
	script := fmt.Sprintf("#!/bin/sh\ncase \"$1\" in\ncheck|health)\n%s;;\n*)\n%s;;\nesac\nexec '%s' \"$@\"\n", exports(asWorker), exports(asOperator), bin)
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "worker"), []byte(script), 0o755))
	s.env = append(s.env, "PATH="+s.dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// holdMetrics holds the documents against the metrics of a running worker.
func holdMetrics(t *testing.T, address string) {
	t.Helper()
	response, err := http.Get("http://" + address + "/metrics") //nolint:forbidigo // of a worker of this test, on this machine
	require.NoError(t, err)
	defer func() { assert.NoError(t, response.Body.Close()) }()
	served, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	alerts := file(t, "deploy", "prometheus", "alerts.yaml")
	// Not what a dot stands before: a setting.
	named := regexp.MustCompile(`[^.\w](passcode_\w+)`).FindAllStringSubmatch(alerts+read(t, "operations.md").text, -1)
	require.NotEmpty(t, named)
	for _, m := range named {
		name := strings.TrimSuffix(m[1], "_bucket")
		if !strings.Contains(string(served), "# TYPE "+name+" ") {
			assert.Fail(t, "no such metric", name) // without all that there is
		}
	}
}

// TestAlertsLeadToTheirChapters: each runbook is a heading.
func TestAlertsLeadToTheirChapters(t *testing.T) {
	t.Parallel()
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert       string
				Expr        string
				Annotations map[string]string
			}
		}
	}
	require.NoError(t, yaml.Unmarshal([]byte(file(t, "deploy", "prometheus", "alerts.yaml")), &rules))
	require.NotEmpty(t, rules.Groups)
	headings := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(read(t, "operations.md").text, -1) {
		headings[strings.ReplaceAll(strings.ToLower(m[1]), " ", "-")] = true
	}
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			doc, anchor, _ := strings.Cut(rule.Annotations["runbook"], "#")
			assert.Equal(t, "docs/operations.md", doc, rule.Alert)
			assert.True(t, headings[anchor], "%s leads to #%s", rule.Alert, anchor)
			assert.NotEmpty(t, rule.Expr)
			assert.NotEmpty(t, rule.Annotations["summary"])
		}
	}
}
