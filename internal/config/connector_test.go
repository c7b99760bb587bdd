package config

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// connectorJSON is a file as Logto's console holds it.
const connectorJSON = `{
  "accessKeyId": "LTAI5tConnectorId",
  "accessKeySecret": "s3cret-of-the-connector",
  "signName": "示例",
  "templates": [
    {"type": 2, "usageType": "Register", "templateCode": "SMS_1"},
    {"type": 2, "usageType": "SignIn", "templateCode": {"china": "SMS_2", "overseas": "SMS_3"}},
    {"usageType": "ForgotPassword", "templateCode": "SMS_4"},
    {"type": "anything", "usageType": "Generic", "templateCode": "SMS_5"},
    {"type": 2, "usageType": "MfaVerification", "templateCode": "SMS_6"}
  ],
  "strictPhoneRegionNumberCheck": true
}`

func loadConnector(text, settings string) (Config, error) {
	return Load(Source{
		ReadFile: files{
			"worker.yaml": settings, "connector.json": text,
		}.read,
		Set: []string{"aliyun.connector_file=connector.json"}, ToRun: true,
	})
}

func TestConnector(t *testing.T) {
	t.Parallel()
	got, err := loadConnector(connectorJSON, "")
	require.NoError(t, err)
	assert.Empty(t, got.Warnings)
	assert.Equal(t, "LTAI5tConnectorId", got.Aliyun.AccessKeyID.Reveal())
	assert.Equal(t, passcode.NewSecret("s3cret-of-the-connector"), got.Aliyun.AccessKeySecret)
	assert.Equal(t, "示例", got.Aliyun.SignName)
	assert.True(t, got.Aliyun.StrictPhoneRegionNumberCheck)
	both := func(code string) domain.TemplateCode { return domain.TemplateCode{China: code, Overseas: code} }
	assert.Equal(t, []domain.Template{
		{UsageType: "Register", TemplateCode: both("SMS_1")},
		{UsageType: "SignIn", TemplateCode: domain.TemplateCode{China: "SMS_2", Overseas: "SMS_3"}},
		{UsageType: "ForgotPassword", TemplateCode: both("SMS_4")},
		{UsageType: "Generic", TemplateCode: both("SMS_5")},
		{UsageType: "MfaVerification", TemplateCode: both("SMS_6")},
	}, got.Aliyun.Templates)
	assert.Equal(t, Default().Aliyun.Timeout, got.Aliyun.Timeout, "everything else is ours")
}

// TestConnectorUnchanged: what Logto accepts must be accepted.
func TestConnectorUnchanged(t *testing.T) {
	t.Parallel()
	for name, change := range map[string][2]string{
		"unknown member":           {`"signName"`, `"extra": {"a": [1]}, "signName"`},
		"unknown template member":  {`"type": "anything"`, `"note": "x"`},
		"unknown code member":      {`"china": "SMS_2"`, `"macao": "SMS_9", "china": "SMS_2"`},
		"strict left out":          {`,` + "\n" + `  "strictPhoneRegionNumberCheck": true`, ``},
		"strict null":              {`Check": true`, `Check": null`},
		"a name twice":             {`"signName"`, `"signName": "old", "signName"`},
		"byte order mark":          {"{\n  \"accessKeyId\"", "\ufeff{\n  \"accessKeyId\""},
		"an escape of JSON's":      {`"示例"`, `"\u793a\u4f8b"`},
		"usage types of any words": {`"MfaVerification"`, `"anything at all"`},
		"Generic alone":            {`"Register"`, `"Sign-up"`},
	} {
		require.Contains(t, connectorJSON, change[0], name)
		got, err := loadConnector(strings.Replace(connectorJSON, change[0], change[1], 1), "")
		require.NoError(t, err, name)
		assert.Equal(t, "示例", got.Aliyun.SignName, name)
	}
	got, err := loadConnector(strings.Replace(connectorJSON, "MfaVerification", "SignIn", 1), "")
	require.NoError(t, err)
	assert.Equal(t, []string{
		"aliyun.connector_file.templates[4]: has the usage type of aliyun.connector_file.templates[1], which is the one that is used",
	}, got.Warnings)
}

func TestConnectorProblems(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ old, replacement, want string }{
		"no JSON":               {`"accessKeyId":`, `"accessKeyId"`, ": must be one JSON object"},
		"id missing":            {`"accessKeyId"`, `"accessKeyID"`, ".accessKeyId: is missing"},
		"id placeholder":        {"LTAI5tConnectorId", "<access-key-id>", ".accessKeyId: holds the placeholder of an example"},
		"id empty":              {"LTAI5tConnectorId", "", ".accessKeyId: is missing"},
		"id a number":           {`"LTAI5tConnectorId"`, `5`, ".accessKeyId: must be a text"},
		"id null":               {`"LTAI5tConnectorId"`, `null`, ".accessKeyId: is missing"},
		"secret placeholder":    {"s3cret-of-the-connector", "<access-key-secret>", ".accessKeySecret: holds the placeholder of an example"},
		"secret an object":      {`"s3cret-of-the-connector"`, `{"s3cret":"s3cret"}`, ".accessKeySecret: must be a text"},
		"secret with line feed": {"s3cret-of-the-connector", `s3cret\n`, ".accessKeySecret: must not hold line breaks, invisible characters or what is no UTF-8"},
		"sign empty":            {"示例", "", ".signName: is missing"},
		"strict no boolean":     {`Check": true`, `Check": 1`, ".strictPhoneRegionNumberCheck: must be true or false"},
		"templates missing":     {`"templates"`, `"template"`, ".templates: is missing"},
		"templates an object":   {`"templates": [`, `"templates": {}, "x": [`, ".templates: must be a list"},
		"template a text":       {`{"usageType": "ForgotPassword", "templateCode": "SMS_4"}`, `"SMS_4"`, ".templates[2]: must be a section"},
		"code placeholder":      {"SMS_4", "<template-code>", ".templates[2].templateCode: holds the placeholder of an example"},
		"code empty":            {"SMS_4", "", ".templates[2].templateCode: is missing"},
		"overseas empty":        {"SMS_3", "", ".templates[1].templateCode.overseas: is missing"},
		"overseas missing":      {`, "overseas": "SMS_3"`, ``, ".templates[1].templateCode.overseas: is missing"},
		"code a list":           {`"SMS_4"`, `["SMS_4"]`, ".templates[2].templateCode: must be a text"},
		"usage type missing":    {`"usageType": "Register", `, ``, ".templates[0].usageType: is missing"},
		"no Generic":            {"Generic", "generic", ".templates: must hold one with usage_type Generic, which stands in for every other (worker run needs it)"},
	} {
		require.Contains(t, connectorJSON, test.old, name)
		_, err := loadConnector(strings.Replace(connectorJSON, test.old, test.replacement, 1), "")
		problems := listed(t, err)
		require.Len(t, problems, 1, "%s: %s", name, err)
		assert.Equal(t, "aliyun.connector_file"+test.want, problems[0].Key+": "+problems[0].Problem, name)
		assert.Equal(t, "--set aliyun.connector_file", problems[0].Source, name)
		assert.NotContains(t, err.Error(), "s3cret", name)
	}
	for _, text := range []string{"", "[]", "null", `"x"`, "{} {}", "{", "{\"signName\": \"\xff\"}", "s3cret", strings.Repeat("[", 20000)} {
		_, err := loadConnector(text, "")
		assert.Equal(t, []string{"aliyun.connector_file"}, keysOf(listed(t, err)), "%.10q", text)
		assert.NotContains(t, err.Error(), "s3cret")
	}
	_, err := loadConnector("{}", "")
	assert.Equal(t, []string{
		"aliyun.connector_file.accessKeyId", "aliyun.connector_file.accessKeySecret", "aliyun.connector_file.signName",
		"aliyun.connector_file.templates",
	}, keysOf(listed(t, err)), "all at once")
	_, err = loadConnector(`{"accessKeyId":"a","accessKeySecret":"b","signName":"c","templates":[]}`, "")
	assert.ErrorContains(t, err, "aliyun.connector_file.templates: must hold one with usage_type Generic")
}

func TestConnectorBesideOwnSettings(t *testing.T) {
	t.Parallel()
	got, err := loadConnector(connectorJSON, `aliyun:
  access_key_id: ""
  access_key_secret: ""
  sign_name: ""
  templates: []
  strict_phone_region_number_check: false
  timeout: 4s
`)
	require.NoError(t, err, "a copy of the annotated file holds all five, empty")
	assert.Equal(t, "LTAI5tConnectorId", got.Aliyun.AccessKeyID.Reveal())

	_, err = loadConnector(connectorJSON, `aliyun:
  access_key_id: LTAI5tOwn
  access_key_secret: s3cret
  sign_name: Own
  templates: [{usage_type: Generic, template_code: SMS_0}]
  strict_phone_region_number_check: true
`)
	problems := listed(t, err)
	assert.Equal(t, []string{
		"aliyun.access_key_id", "aliyun.access_key_secret", "aliyun.sign_name", "aliyun.templates",
		"aliyun.strict_phone_region_number_check",
	}, keysOf(problems))
	for i, p := range problems {
		assert.Equal(t, "must not be set beside aliyun.connector_file, which holds it too", p.Problem)
		assert.Regexp(t, `^worker.yaml line \d$`, p.Source)
		assert.NotContains(t, p.String(), "s3cret", i)
	}
}

func TestConnectorFileThatCantBeRead(t *testing.T) {
	t.Parallel()
	src := source("aliyun: {connector_file: none.json}")
	got, err := Load(src)
	require.NoError(t, err, "a command that does not send goes on without the file")
	assert.Equal(t, []string{"aliyun.connector_file: there is no such file; this command goes on without it"}, got.Warnings)

	src.ToRun = true
	_, err = Load(src)
	require.EqualError(t, err, "aliyun.connector_file: can't be read: there is no such file; name the connector's JSON file (worker.yaml line 1)")

	refused := Source{Set: []string{"aliyun.connector_file=dir/c.json"}, ReadFile: func(name string) ([]byte, error) {
		if name == "worker.yaml" {
			return nil, fs.ErrNotExist
		}
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}}
	_, err = Load(refused)
	require.EqualError(t, err, "aliyun.connector_file: can't be read: open dir/c.json: permission denied; name the connector's JSON file (--set aliyun.connector_file)")
}
