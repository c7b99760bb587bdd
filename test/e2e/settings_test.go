package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/harness"
)

// TestConnectorFile: the JSON of Logto's Aliyun SMS connector works as it is.
func TestConnectorFile(t *testing.T) {
	t.Parallel()
	connector := map[string]any{
		"accessKeyId": harness.AccessKeyID, "accessKeySecret": harness.AccessKeySecret, "signName": "Connector",
		"templates": []any{
			map[string]any{"type": 2, "usageType": "Register", "templateCode": "SMS_200000001"},
			map[string]any{"type": 2, "usageType": "SignIn", "templateCode": map[string]string{"china": "SMS_200000002", "overseas": "SMS_200000003"}},
			map[string]any{"usageType": "ForgotPassword", "templateCode": "SMS_200000004"},
			map[string]any{"type": 6, "usageType": "Generic", "templateCode": "SMS_200000005"},
		},
		"strictPhoneRegionNumberCheck": true,
	}
	data, err := json.Marshal(connector)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "connector.json")
	require.NoError(t, os.WriteFile(file, data, 0o600))

	s := start(t)
	env := s.emulator.WorkerEnv(s.url)
	for _, key := range []string{"aliyun.access_key_id", "aliyun.access_key_secret", "aliyun.sign_name", "aliyun.templates"} {
		delete(env, variable(key))
	}
	env[variable("aliyun.connector_file")] = file
	w := harness.StartWorker(t, s.bin, env, "run")
	w.Forbid(code, harness.AccessKeySecret)
	w.WaitFor(`"msg":"ready"`, bound)

	rows := map[string]struct{ usage, phone, template, masked string }{
		"mainland": {"SignIn", "86138" + "00000001", "SMS_200000002", "+86138****0001"},
		"overseas": {"SignIn", "85268326366", "SMS_200000003", "+85268****66"},
		"strict":   {"Register", "18624017194", "SMS_200000001", "+1862****194"}, // a US number, as the file says strict
		"generic":  {"MfaVerification", "+886912345678", "SMS_200000005", "+88691****678"},
	}
	for id, row := range rows {
		s.publish(`{"request_id":"` + id + `","phone":"` + row.phone + `","code":"` + code + `","usage_type":"` + row.usage + `"}`)
	}
	for id, row := range rows {
		r := s.results.final(id, bound)
		require.Equal(t, passcode.StatusSent, r.Status, "%s: %+v", id, r.Error)
		assert.Equal(t, row.masked, r.Phone)
	}
	templates := map[string]string{}
	for _, sent := range s.emulator.Sent() {
		templates[sent.OutID] = sent.TemplateCode
		assert.Equal(t, "Connector", sent.SignName)
	}
	for id, row := range rows {
		assert.Equal(t, row.template, templates[id], id)
	}
}

// TestTwoWorkersOneAddress: the second on a machine sends all the same, and says
// what it lacks.
func TestTwoWorkersOneAddress(t *testing.T) {
	t.Parallel()
	s := start(t)
	first, asked := s.http()
	second := s.worker("http.listen", asked.address)
	second.WaitFor("the address is in use", bound)
	first.Kill()
	s.publish(job("r1", phoneOf(1)))
	s.allSent("r1")
}
