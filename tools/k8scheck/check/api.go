package check

import (
	"bufio"
	"bytes"
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	genericrequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	_ "k8s.io/kubernetes/pkg/apis/apps/install" // each import registers a group
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	_ "k8s.io/kubernetes/pkg/apis/batch/install"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	_ "k8s.io/kubernetes/pkg/apis/rbac/install"
	_ "k8s.io/kubernetes/pkg/apis/scheduling/install"
	"k8s.io/kubernetes/pkg/registry/apps/daemonset"
	"k8s.io/kubernetes/pkg/registry/apps/deployment"
	"k8s.io/kubernetes/pkg/registry/apps/statefulset"
	"k8s.io/kubernetes/pkg/registry/autoscaling/horizontalpodautoscaler"
	"k8s.io/kubernetes/pkg/registry/batch/cronjob"
	"k8s.io/kubernetes/pkg/registry/batch/job"
	"k8s.io/kubernetes/pkg/registry/core/configmap"
	"k8s.io/kubernetes/pkg/registry/core/limitrange"
	"k8s.io/kubernetes/pkg/registry/core/namespace"
	"k8s.io/kubernetes/pkg/registry/core/persistentvolumeclaim"
	"k8s.io/kubernetes/pkg/registry/core/pod"
	"k8s.io/kubernetes/pkg/registry/core/resourcequota"
	"k8s.io/kubernetes/pkg/registry/core/secret"
	"k8s.io/kubernetes/pkg/registry/core/service"
	"k8s.io/kubernetes/pkg/registry/core/serviceaccount"
	"k8s.io/kubernetes/pkg/registry/networking/ingress"
	"k8s.io/kubernetes/pkg/registry/networking/networkpolicy"
	"k8s.io/kubernetes/pkg/registry/policy/poddisruptionbudget"
	"k8s.io/kubernetes/pkg/registry/rbac/role"
	"k8s.io/kubernetes/pkg/registry/rbac/rolebinding"
	"k8s.io/kubernetes/pkg/registry/scheduling/priorityclass"
)

func bufReader(b []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(b)) }

// strategies are what the API server runs on create, per served kind. A kind
// that is not here is none that a deployment of ours has reason to contain:
// that is said, rather than let through unchecked.
func strategies() map[schema.GroupVersionKind]rest.RESTCreateStrategy {
	gvk := func(g, v, k string) schema.GroupVersionKind {
		return schema.GroupVersionKind{Group: g, Version: v, Kind: k}
	}
	return map[schema.GroupVersionKind]rest.RESTCreateStrategy{
		gvk("apps", "v1", "DaemonSet"):                        daemonset.Strategy,
		gvk("apps", "v1", "Deployment"):                       deployment.Strategy,
		gvk("apps", "v1", "StatefulSet"):                      statefulset.Strategy,
		gvk("autoscaling", "v2", "HorizontalPodAutoscaler"):   horizontalpodautoscaler.Strategy,
		gvk("batch", "v1", "CronJob"):                         cronjob.Strategy,
		gvk("batch", "v1", "Job"):                             job.Strategy,
		gvk("", "v1", "ConfigMap"):                            configmap.Strategy,
		gvk("", "v1", "LimitRange"):                           limitrange.Strategy,
		gvk("", "v1", "Namespace"):                            namespace.Strategy,
		gvk("", "v1", "PersistentVolumeClaim"):                persistentvolumeclaim.Strategy,
		gvk("", "v1", "Pod"):                                  pod.Strategy,
		gvk("", "v1", "ResourceQuota"):                        resourcequota.Strategy,
		gvk("", "v1", "Secret"):                               secret.Strategy,
		gvk("", "v1", "Service"):                              service.Strategy,
		gvk("", "v1", "ServiceAccount"):                       serviceaccount.Strategy,
		gvk("networking.k8s.io", "v1", "Ingress"):             ingress.Strategy,
		gvk("networking.k8s.io", "v1", "NetworkPolicy"):       networkpolicy.Strategy,
		gvk("policy", "v1", "PodDisruptionBudget"):            poddisruptionbudget.Strategy,
		gvk("rbac.authorization.k8s.io", "v1", "Role"):        role.Strategy,
		gvk("rbac.authorization.k8s.io", "v1", "RoleBinding"): rolebinding.Strategy,
		gvk("scheduling.k8s.io", "v1", "PriorityClass"):       priorityclass.Strategy,
	}
}

// API holds the server's own machinery.
type API struct {
	strategies map[schema.GroupVersionKind]rest.RESTCreateStrategy
	codecs     serializer.CodecFactory
	crds       map[schema.GroupVersionKind]*crd
}

// NewAPI returns the machinery, with the custom resources of the given
// CustomResourceDefinition documents.
func NewAPI(crdDocs ...[]byte) (*API, error) {
	a := &API{strategies: strategies(), crds: map[schema.GroupVersionKind]*crd{},
		codecs: serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict)}
	for _, d := range crdDocs {
		if err := a.addCRD(d); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// Admit does to each object what the API server does on create and reports what
// it would refuse or warn of. It fills Typed of the built-in kinds.
func (a *API) Admit(objs []*Object) []Finding {
	var out []Finding
	for _, o := range objs {
		if s, ok := a.strategies[o.GVK]; ok {
			out = append(out, a.admitNative(o, s)...)
			continue
		}
		if c, ok := a.crds[o.GVK]; ok {
			out = append(out, c.validate(o)...)
			continue
		}
		out = append(out, Finding{"kind", o.String(), a.unknownKind(o.GVK)})
	}
	return out
}

func (a *API) unknownKind(k schema.GroupVersionKind) string {
	var same []string
	for s := range a.strategies {
		if s.Kind == k.Kind {
			same = append(same, s.GroupVersion().String())
		}
	}
	for s := range a.crds {
		if s.Kind == k.Kind {
			same = append(same, s.GroupVersion().String())
		}
	}
	if len(same) > 0 {
		return fmt.Sprintf("%s is not served for %s; use %v", k.GroupVersion(), k.Kind, same)
	}
	return fmt.Sprintf("no schema for %s %s: it is no kind that Flowstitch deploys, or its CRD was not given with -crds", k.GroupVersion(), k.Kind)
}

func (a *API) admitNative(o *Object, s rest.RESTCreateStrategy) []Finding {
	fail := func(check string, err error) []Finding {
		return []Finding{{check, o.String(), err.Error()}}
	}
	ext, _, err := a.codecs.UniversalDeserializer().Decode(o.YAML, nil, nil)
	if err != nil {
		return fail("decode", err)
	}
	legacyscheme.Scheme.Default(ext)
	o.Typed = ext
	internal, err := legacyscheme.Scheme.ConvertToVersion(ext.DeepCopyObject(), schema.GroupVersion{Group: o.GVK.Group, Version: runtime.APIVersionInternal})
	if err != nil {
		return fail("decode", err)
	}
	ctx := genericrequest.WithNamespace(context.Background(), o.NS)
	info := &genericrequest.RequestInfo{APIGroup: o.GVK.Group, APIVersion: o.GVK.Version, Verb: "create", IsResourceRequest: true}
	ctx = genericrequest.WithRequestInfo(ctx, info)
	acc, err := meta.Accessor(internal)
	if err != nil {
		return fail("decode", err)
	}
	if s.NamespaceScoped() == (o.NS == "") {
		if o.NS == "" {
			return fail("namespace", fmt.Errorf("is a namespaced kind without metadata.namespace: it would land wherever kubectl points"))
		}
		return fail("namespace", fmt.Errorf("is cluster-wide but has namespace %q", o.NS))
	}
	rest.FillObjectMetaSystemFields(acc)
	if err := rest.BeforeCreate(s, ctx, internal); err != nil {
		return fail("api", err)
	}
	var out []Finding
	for _, w := range s.WarningsOnCreate(ctx, internal) {
		out = append(out, Finding{"api-warning", o.String(), w})
	}
	return out
}
