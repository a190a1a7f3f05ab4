# The operator, without jax. Build it from the repository's root: make images.
ARG BASE=docker.io/library/python:3.11-slim
# Where pip runs; has to hold the same Python as BASE.
ARG BUILD_BASE=${BASE}

FROM ${BUILD_BASE} AS dependencies
COPY images/requirements/operator.txt /requirements/
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv --without-pip /opt/dependencies \
 && python3 -m pip --python /opt/dependencies/bin/python install --require-hashes -r /requirements/operator.txt

# What is in the image and under which licences, in CycloneDX: /opt/sbom/python.cdx.json.
FROM dependencies AS sbom
COPY images/requirements/sbom.txt /requirements/
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv --without-pip /opt/sbom-tool \
 && python3 -m pip --python /opt/sbom-tool/bin/python install --require-hashes -r /requirements/sbom.txt \
 && mkdir /opt/sbom \
 && /opt/sbom-tool/bin/cyclonedx-py environment --gather-license-texts --output-reproducible --output-format JSON \
        --output-file /opt/sbom/python.cdx.json /opt/dependencies/bin/python

FROM dependencies AS lateen
COPY pyproject.toml README.md LICENSE /source/
COPY crds/lateen_api /source/crds/lateen_api
COPY operator/lateen_operator /source/operator/lateen_operator
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m pip --python /opt/dependencies/bin/python install --no-deps --target /opt/lateen /source

FROM ${BASE}
# Only the last layer, a small one, changes with the code.
COPY --from=dependencies /opt/dependencies /opt/dependencies
COPY --from=sbom /opt/sbom /opt/sbom
COPY --from=lateen /opt/lateen /opt/lateen
# The root file system may be read-only: bytecode is compiled above, and what insists on a home gets /tmp.
ENV PATH=/opt/lateen/bin:/opt/dependencies/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/opt/lateen \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp
WORKDIR /tmp
USER 1000:1000
# The version in pyproject.toml; make images reads it there.
ARG VERSION=
LABEL org.opencontainers.image.title="lateen-operator" \
      org.opencontainers.image.description="The operator of LMTrainingJobs" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
# No shell in between, so that SIGTERM arrives.
ENTRYPOINT ["lateen"]
