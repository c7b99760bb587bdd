package config

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// requirePromises holds what Load returned, whatever it was given.
func requirePromises(t *testing.T, src Source) {
	t.Helper()
	cfg, err := Load(src)
	if err != nil {
		var problems *Errors
		require.ErrorAs(t, err, &problems)
		require.NotEmpty(t, problems.Problems)
		for _, p := range problems.Problems {
			require.NotEmpty(t, p.Key)
			require.NotContains(t, p.String(), "\n")
		}
		return
	}
	var out strings.Builder
	require.NoError(t, Print(&out, cfg))
	if strings.Contains(out.String(), mask) {
		return // secrets don't come back
	}
	again, err := Load(Source{ReadFile: files{"worker.yaml": out.String()}.read})
	require.NoError(t, err, "%s", out.String())
	require.Equal(t, cfg, again)
}

func FuzzLoadFile(f *testing.F) {
	reference, err := os.ReadFile("../../config/worker.yaml")
	require.NoError(f, err)
	for _, seed := range []string{
		string(reference), sendable, "", "nats:\n\turl: x", "log: {level: [", "a: &a [*a]", "<<: *x", "nats: !!map {}",
		"limits: {phone: [1/1m, 5/1h]}", "jobs: {max_bytes: 1GiB}", "? {a: b}\n: c", "---\n---\n", "nats: {url: \"nats://a:b@c\"}",
		sendable + "retry: {multiplier: 1e3}\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		requirePromises(t, Source{ReadFile: files{"worker.yaml": string(data)}.read, ToRun: true})
	})
}

func FuzzLoadEnv(f *testing.F) {
	for _, seed := range [][2]string{
		{"NATS__URL", "nats://a:b@c,tls://d"}, {"NATS__URL", "0"}, {"NATS", `{"tls":{"ca":"x"}}`}, {"LIMITS__PHONE", `["1/1m"]`}, {"WORKER_PORT", "tcp://1"},
		{"ALIYUN__TEMPLATES", `[{"usage_type":"Generic","template_code":{"china":"a","overseas":"b"},"params":["x"]}]`},
		{"ALIYUN__ENDPOINT", "[::1]:80"}, {"JOBS__MAX_BYTES", "1GB"}, {"", ""}, {"CONFIG", "worker.yaml"}, {"CONFIG", "\n"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		path := strings.ToLower(strings.ReplaceAll(name, "__", "."))
		requirePromises(t, Source{
			ReadFile: files{"worker.yaml": sendable}.read, ToRun: true,
			Env: []string{envPrefix + name + "=" + value}, Set: []string{path + "=" + value},
		})
	})
}

func FuzzConnector(f *testing.F) {
	for _, seed := range []string{
		connectorJSON, "{}", "[]", "", "{\"a\":", `{"templates":[{}]}`, `{"templates":[[]]}`, `{"signName":{"a":1}}`,
		`{"accessKeyId":"a","accessKeyId":1}`, "\ufeff{}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := loadConnector(string(data), "")
		if err != nil {
			for _, p := range listed(t, err) {
				require.NotContains(t, p.String(), "\n")
			}
			return
		}
		i := slices.IndexFunc(cfg.Aliyun.Templates, func(t domain.Template) bool { return t.UsageType == passcode.DefaultUsageType })
		require.GreaterOrEqual(t, i, 0)
		require.NotEmpty(t, cfg.Aliyun.Templates[i].TemplateCode.China)
		require.NotEmpty(t, cfg.Aliyun.Templates[i].TemplateCode.Overseas)
		require.False(t, cfg.Aliyun.AccessKeyID.IsZero() || cfg.Aliyun.AccessKeySecret.IsZero() || cfg.Aliyun.SignName == "")
		require.NoError(t, Print(&strings.Builder{}, cfg))
	})
}
