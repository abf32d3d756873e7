package check

import (
	"context"
	"fmt"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"
)

// crd is one served version of a custom resource.
type crd struct {
	structural *structural.Structural
	schema     validation.SchemaValidator
	rules      *cel.Validator // nil where the schema has none
	namespaced bool
}

// addCRD registers every served version of a CustomResourceDefinition.
func (a *API) addCRD(doc []byte) error {
	var def apiextv1.CustomResourceDefinition
	if err := yaml.Unmarshal(doc, &def); err != nil {
		return fmt.Errorf("CustomResourceDefinition: %w", err)
	}
	for _, v := range def.Spec.Versions {
		if !v.Served || v.Schema == nil || v.Schema.OpenAPIV3Schema == nil {
			continue
		}
		var in apiextensions.JSONSchemaProps
		if err := apiextv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(v.Schema.OpenAPIV3Schema, &in, nil); err != nil {
			return fmt.Errorf("%s %s: %w", def.Name, v.Name, err)
		}
		st, err := structural.NewStructural(&in)
		if err != nil {
			return fmt.Errorf("%s %s: %w", def.Name, v.Name, err)
		}
		sv, _, err := validation.NewSchemaValidator(&in)
		if err != nil {
			return fmt.Errorf("%s %s: %w", def.Name, v.Name, err)
		}
		k := schema.GroupVersionKind{Group: def.Spec.Group, Version: v.Name, Kind: def.Spec.Names.Kind}
		a.crds[k] = &crd{structural: st, schema: sv, namespaced: def.Spec.Scope == apiextv1.NamespaceScoped,
			rules: cel.NewValidator(st, true, celconfig.PerCallLimit)}
	}
	return nil
}

// validate does what the API server does with a custom resource under
// fieldValidation=Strict.
func (c *crd) validate(o *Object) []Finding {
	var out []Finding
	add := func(format string, args ...any) {
		out = append(out, Finding{"crd", o.String(), fmt.Sprintf(format, args...)})
	}
	if c.namespaced && o.NS == "" {
		add("is a namespaced kind without metadata.namespace: it would land wherever kubectl points")
	}
	obj, err := jsonCopy(o.Raw)
	if err != nil {
		add("%v", err)
		return out
	}
	unknown := pruning.PruneWithOptions(obj, c.structural, true, structural.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	for _, u := range unknown {
		add("unknown field %q", u)
	}
	defaulting.Default(obj, c.structural)
	for _, e := range validation.ValidateCustomResource(nil, obj, c.schema) {
		add("%v", e)
	}
	for _, e := range listtype.ValidateListSetsAndMaps(nil, c.structural, obj) {
		add("%v", e)
	}
	if c.rules != nil && len(out) == 0 {
		errs, _ := c.rules.Validate(context.Background(), field.NewPath(""), c.structural, obj, nil, celconfig.RuntimeCELCostBudget)
		for _, e := range errs {
			add("%v", e)
		}
	}
	return out
}

// jsonCopy copies a decoded document into the types that the API machinery
// works with (int64 and float64 for numbers).
func jsonCopy(m map[string]any) (map[string]any, error) {
	b, err := yaml.Marshal(m)
	if err != nil {
		return nil, err
	}
	js, err := yaml.YAMLToJSON(b)
	if err != nil {
		return nil, err
	}
	u := map[string]any{}
	if err := jsonUnmarshal(js, &u); err != nil {
		return nil, err
	}
	return runtime.DeepCopyJSON(u), nil
}

// jsonUnmarshal keeps whole numbers whole.
func jsonUnmarshal(b []byte, v *map[string]any) error { return utiljson.Unmarshal(b, v) }
