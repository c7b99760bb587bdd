package config

import (
	"bytes"
	"errors"
	"io/fs"
	"reflect"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

const connectorKey = "aliyun.connector_file"

// connectorGives are the settings that the connector's file stands in for.
var connectorGives = []string{
	"aliyun.access_key_id", "aliyun.access_key_secret", "aliyun.sign_name", "aliyun.templates",
	"aliyun.strict_phone_region_number_check",
}

// connectorSettings are the members that Logto's Aliyun SMS connector has. Logto ignores all others.
type connectorSettings struct {
	AccessKeyID     KeyID           `yaml:"accessKeyId" required:"copy the connector's settings as they are"`
	AccessKeySecret passcode.Secret `yaml:"accessKeySecret" required:"copy the connector's settings as they are"`
	SignName        string          `yaml:"signName" required:"copy the connector's settings as they are"`
	Templates       []struct {
		UsageType    string              `yaml:"usageType" required:"write the usage type, such as Generic"`
		TemplateCode domain.TemplateCode `yaml:"templateCode" required:"write the code of an approved template"`
	} `yaml:"templates" required:"copy the connector's templates as they are"`
	Strict bool `yaml:"strictPhoneRegionNumberCheck"`
}

// connector reads the file that aliyun.connector_file names, and puts what it says instead of our own settings.
func (c *check) connector(src Source) {
	name := c.cfg.Aliyun.ConnectorFile
	if name == "" || !c.fine(connectorKey) {
		return
	}
	defaults := Default()
	for _, k := range known.keys {
		own, none := k.field(c.cfg).Interface(), k.field(&defaults).Interface()
		if slices.Contains(connectorGives, k.path) && !reflect.DeepEqual(own, none) { // which of the two holds would be a guess
			c.fail(k.path, "must not be set beside "+connectorKey+", which holds it too", "remove one of the two")
		}
	}
	data, err := src.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !src.ToRun:
		c.advise(connectorKey, false, "there is no such file; this command goes on without it")
		return
	case err != nil:
		c.fail(connectorKey, unreadable(err), "name the connector's JSON file")
		return
	}
	object, err := parseJSON(bytes.TrimPrefix(data, []byte("\ufeff")))
	root := c.node(object, c.sourceOf(connectorKey))
	if err != nil || root.Kind != yaml.MappingNode {
		c.fail(connectorKey, "must be one JSON object", "copy the connector's settings as they are")
		return
	}
	var theirs connectorSettings
	decoder{Errors: c.Errors, connector: true}.object(connectorKey, root, reflect.ValueOf(&theirs).Elem())
	a := &c.cfg.Aliyun
	a.AccessKeyID, a.AccessKeySecret, a.SignName = theirs.AccessKeyID, theirs.AccessKeySecret, theirs.SignName
	a.StrictPhoneRegionNumberCheck, a.Templates = theirs.Strict, []domain.Template{}
	for _, t := range theirs.Templates {
		a.Templates = append(a.Templates, domain.Template{UsageType: t.UsageType, TemplateCode: t.TemplateCode})
	}
}
