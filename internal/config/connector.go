package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/passcode-worker/passcode-worker/passcode"
)

const connectorKey = "aliyun.connector_file"

// connectorTypes are the usage types that Logto's Aliyun SMS connector demands.
var connectorTypes = []string{"Register", "SignIn", "ForgotPassword", passcode.DefaultUsageType}

// connector reads the settings of Logto's Aliyun SMS connector from the file
// that aliyun.connector_file names, and puts them in place of ours.
func (c *check) connector(src Source) {
	name := c.cfg.Aliyun.ConnectorFile
	if name == "" || !c.fine(connectorKey) {
		return
	}
	c.beside()
	data, err := src.read(name)
	switch {
	case err == nil:
		c.readConnector(data)
	case errors.Is(err, fs.ErrNotExist) && !src.NeedAliyun:
		// Commands that don't send run where the file is kept from them.
		c.warn(connectorKey, "there is no such file; this command goes on without it")
	default:
		c.fail(connectorKey, "can't be read: "+reason(err), "name the connector's JSON file")
	}
}

// beside refuses our own settings where the connector's file gives them: which
// of the two holds would be a guess.
func (c *check) beside() {
	a, d := c.cfg.Aliyun, Default().Aliyun
	for _, own := range []struct {
		key string
		set bool
	}{
		{"aliyun.access_key_id", !a.AccessKeyID.IsZero()},
		{"aliyun.access_key_secret", !a.AccessKeySecret.IsZero()},
		{"aliyun.sign_name", a.SignName != ""},
		{"aliyun.templates", len(a.Templates) > 0},
		{"aliyun.strict_phone_region_number_check", a.StrictPhoneRegionNumberCheck != d.StrictPhoneRegionNumberCheck},
	} {
		if own.set {
			c.fail(own.key, "must not be set beside "+connectorKey+", which holds it too", "remove one of the two")
		}
	}
}

// readConnector decodes the members that the connector has; it ignores all
// others, as Logto does.
func (c *check) readConnector(data []byte) {
	root, err := parseJSON(bytes.TrimPrefix(data, []byte("\ufeff")))
	if err != nil || root.Kind != yaml.MappingNode {
		c.fail(connectorKey, "must be one JSON object", "copy the connector's settings as they are")
		return
	}
	a := &c.cfg.Aliyun
	a.Templates, a.StrictPhoneRegionNumberCheck = []Template{}, false
	d := decoding{source: c.sources[connectorKey], bad: c.problems, lenient: true}
	d.required(root, connectorKey, "accessKeyId", &a.AccessKeyID)
	d.required(root, connectorKey, "accessKeySecret", &a.AccessKeySecret)
	d.required(root, connectorKey, "signName", &a.SignName)
	if strict := member(root, "strictPhoneRegionNumberCheck"); strict != nil {
		d.value(connectorKey+".strictPhoneRegionNumberCheck", strict, &a.StrictPhoneRegionNumberCheck)
	}
	templates := member(root, "templates")
	if templates == nil || templates.Kind != yaml.SequenceNode {
		d.fail(connectorKey+".templates", "must be a list", "copy the connector's templates as they are")
		return
	}
	for i, n := range templates.Content {
		path := fmt.Sprintf("%s.templates[%d]", connectorKey, i)
		if n.Kind != yaml.MappingNode {
			d.fail(path, "must be an object", "copy the connector's templates as they are")
			n = &yaml.Node{Kind: yaml.MappingNode}
		}
		var t Template
		if !d.bad.unread(path) {
			d.required(n, path, "usageType", &t.UsageType)
			d.required(n, path, "templateCode", &t.TemplateCode)
		}
		a.Templates = append(a.Templates, t)
	}
	c.connectorUsageTypes()
}

// connectorUsageTypes lists the usage types that are missing.
func (c *check) connectorUsageTypes() {
	var missing []string
	for _, wanted := range connectorTypes {
		if !slices.ContainsFunc(c.cfg.Aliyun.Templates, func(t Template) bool { return t.UsageType == wanted }) {
			missing = append(missing, wanted)
		}
	}
	unread := slices.ContainsFunc(c.cfg.Aliyun.Templates, func(t Template) bool { return t.UsageType == "" })
	if len(missing) > 0 && !unread {
		c.fail(connectorKey+".templates", "lacks the usage types "+strings.Join(missing, ", "), "add a template for each")
	}
}

// required decodes a member that must be there and not be empty.
func (d decoding) required(object *yaml.Node, path, name string, target any) {
	at := path + "." + name
	n := member(object, name)
	switch {
	case n == nil:
		d.fail(at, "is missing", "copy the connector's settings as they are")
	case n.Kind == yaml.ScalarNode && n.ShortTag() != "!!str":
		d.fail(at, "must be a text", "put it in quotes")
	case n.Kind == yaml.ScalarNode && n.Value == "":
		d.fail(at, "must not be empty", "write the real value")
	default:
		d.value(at, n, target)
	}
}

// member returns an object's member, the last of its name as in JSON.parse, or
// nil where there is none or it is null.
func member(object *yaml.Node, name string) *yaml.Node {
	var found *yaml.Node
	for i := 0; i+1 < len(object.Content); i += 2 {
		if object.Content[i].Value == name {
			found = object.Content[i+1]
		}
	}
	if found == nil || isNull(found) {
		return nil
	}
	return found
}
