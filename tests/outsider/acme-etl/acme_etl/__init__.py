from etlcore import Component, hookimpl

@hookimpl
def etl_components():
    yield Component("acme.count", kind="source", target="acme_etl.stages:Count", summary="Whole numbers in order")
    yield Component("acme.double", kind="transform", target="acme_etl.stages:Double", summary="Twice each number")
