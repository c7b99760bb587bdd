package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

func printed(t *testing.T, c Config) string {
	t.Helper()
	var out strings.Builder
	require.NoError(t, Print(&out, c))
	return out.String()
}

func TestPrintRoundTrip(t *testing.T) {
	t.Parallel()
	changed := source("")
	for path, text := range other {
		// Secrets don't come back, and not everything can be set at once.
		switch path {
		case "nats.password", "nats.user", "nats.token", "nats.creds", "nats.replicas", "limits.key", "aliyun.access_key_id",
			"aliyun.access_key_secret", "aliyun.security_token", "aliyun.connector_file":
		default:
			changed.Set = append(changed.Set, path+"="+text)
		}
	}
	odd := source("")
	odd.Set = []string{`aliyun={"sign_name":"# no: comment","templates":[{"usage_type":"true","template_code":"0123"},{"usage_type":"~","template_code":{"china":"'","overseas":"\" %"}}]}`, "nats.creds=null", "nats.tls.ca=key", "http.listen=", "limits.phone=[]"}
	for name, src := range map[string]Source{"defaults": source(""), "everything": changed, "odd texts": odd} {
		want, err := Load(src)
		require.NoError(t, err, name)
		text := printed(t, want)
		got, err := Load(source(text))
		require.NoError(t, err, "%s:\n%s", name, text)
		assert.Equal(t, want, got, name)
		assert.Equal(t, text, printed(t, got), name)
	}
}

func TestPrintOrder(t *testing.T) {
	t.Parallel()
	var root yaml.Node
	require.NoError(t, yaml.Unmarshal([]byte(printed(t, Default())), &root))
	assert.Equal(t, allKeys(), paths("", root.Content[0]))
}

// paths lists the leaves of a mapping in order.
func paths(above string, n *yaml.Node) []string {
	var list []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		at := join(above, n.Content[i].Value)
		if known.isSection(at) {
			list = append(list, paths(at, n.Content[i+1])...)
		} else {
			list = append(list, at)
		}
	}
	return list
}

// TestNoSecretShows sets every secret, prints the settings every way there is,
// and looks for the values.
func TestNoSecretShows(t *testing.T) {
	t.Parallel()
	const hidden = "hunter2"
	src := source("")
	src.Set = []string{
		"nats.url=nats://user:" + hidden + "@h1:4222,nats://" + hidden + "@h2:4222", "nats.password=" + hidden, "nats.token=" + hidden,
		"limits.key=" + hidden, "aliyun.access_key_id=LTAI" + hidden, "aliyun.access_key_secret=" + hidden, "aliyun.security_token=" + hidden,
	}
	cfg, err := Load(src)
	require.Error(t, err, "three kinds to authenticate")
	require.Equal(t, hidden, cfg.NATS.Token.Reveal(), "the secrets must be there to be looked for")

	text := printed(t, cfg)
	for _, line := range []string{
		"url: nats://user:****@h1:4222,nats://****@h2:4222", "password: '****'", "token: '****'", "key: '****'", "access_key_id: LTAI****",
		"access_key_secret: '****'", "security_token: '****'",
	} {
		assert.Contains(t, text, line)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("settings", "config", cfg, "nats", &cfg.NATS)
	asJSON, jsonErr := json.Marshal(cfg)
	require.NoError(t, jsonErr)
	asYAML, yamlErr := yaml.Marshal(cfg)
	require.NoError(t, yamlErr)
	for _, shown := range []string{
		text, err.Error(), fmt.Sprintf("%v %+v %#v", err, err, err), log.String(), string(asJSON), string(asYAML),
		fmt.Sprintf("%v", cfg), fmt.Sprintf("%+v", cfg), fmt.Sprintf("%#v", cfg), fmt.Sprintf("%+v", &cfg),
		fmt.Sprintf("%s %q %x %d", cfg.NATS.Token, cfg.NATS.URL, cfg.Aliyun.AccessKeyID, cfg.NATS.URL), fmt.Sprintf("%s %q %x %d", cfg.NATS.URL, cfg.Aliyun.AccessKeyID, cfg.NATS.Token, cfg.Aliyun.AccessKeyID),
		strings.Join(cfg.Warnings, "\n"),
	} {
		assert.NotContains(t, shown, hidden)
		assert.NotContains(t, shown, fmt.Sprintf("%x", hidden))
	}
}

// TestNoValueInProblems puts a secret where it does not belong, under every key
// and in every shape.
func TestNoValueInProblems(t *testing.T) {
	t.Parallel()
	const hidden = "hunter2"
	for _, path := range append(allKeys(), "nats", "aliyun", "nats.passwort", "unknown") {
		for _, shape := range []string{hidden, "[" + hidden + "]", `["` + hidden + `"]`, `{"` + hidden + `": 1}`, `{"a":"` + hidden + `"}`, "<" + hidden + ">", hidden + "****", hidden + "\n", "1/" + hidden, hidden + "/1h", "nats://u:" + hidden + "@h:x", `[{"usage_type":"` + hidden + `"}]`} {
			src := withEnv(source(""), map[string]string{path: shape})
			src.Set, src.ToRun = []string{path + "=" + shape}, true
			_, err := Load(src)
			if err == nil || strings.Contains(shape, `{"`+hidden) {
				continue // as a member's name it is shown, so that it can be found
			}
			assert.NotContains(t, err.Error(), hidden, "%s=%s", path, shape)
		}
	}
}

func TestPrintConnector(t *testing.T) {
	t.Parallel()
	cfg, err := loadConnector(connectorJSON, "")
	require.NoError(t, err)
	text := printed(t, cfg)
	for _, line := range []string{
		`access_key_id: "" # from connector_file: "LTAI****"`, `access_key_secret: "" # from connector_file: "****"`,
		`sign_name: "" # from connector_file: "示例"`, `strict_phone_region_number_check: false # from connector_file: true`,
		`templates: [] # from connector_file: [{"UsageType":"Register"`, "connector_file: connector.json\n",
	} {
		assert.Contains(t, text, line)
	}
	assert.NotContains(t, text, "s3cret")
	assert.NotContains(t, text, "ConnectorId")

	again, err := Load(Source{ReadFile: files{"worker.yaml": text, "connector.json": connectorJSON}.read, ToRun: true})
	require.NoError(t, err)
	assert.Equal(t, cfg, again)
}

func TestPrintReportsTheWriter(t *testing.T) {
	t.Parallel()
	reader, full := io.Pipe()
	cause := errors.New("disk full")
	require.NoError(t, reader.CloseWithError(cause))
	require.ErrorIs(t, Print(full, Default()), cause)
}

// TestReference holds config/worker.yaml to the defaults: it names every key, in
// order and with its default, and says what each is for.
func TestReference(t *testing.T) {
	t.Parallel()
	const file = "../../config/worker.yaml"
	cfg, err := Load(Source{File: file})
	require.NoError(t, err)
	assert.Equal(t, Default(), cfg)

	data, err := os.ReadFile(file)
	require.NoError(t, err)
	var root yaml.Node
	require.NoError(t, yaml.Unmarshal(data, &root))
	assert.Equal(t, allKeys(), paths("", root.Content[0]))
	requireComments(t, "", root.Content[0])
	for i, line := range strings.Split(string(data), "\n") {
		assert.LessOrEqual(t, len(line), 84, "line %d", i+1)
	}
}

func requireComments(t *testing.T, above string, n *yaml.Node) {
	t.Helper()
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		at := join(above, name.Value)
		assert.Greater(t, len(name.HeadComment), len("# "), "%s has no comment", at)
		assert.NotEqual(t, "!!null", value.ShortTag(), "%s has no value, and so does not show its default", at)
		if known.isSection(at) {
			requireComments(t, at, value)
		}
	}
}
