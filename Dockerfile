# Every image of fedbus; compose.yaml says which arguments make which.
#
#   docker build --build-arg SERVICE=edge_agent --build-arg EXTRAS=tflite -t fedbus-edge-agent .
#
# SERVICE   a folder of services/: controller, collector, repository, inference, edge_agent
# EXTRAS    what its pyproject.toml offers, with commas between: tflite, torch, tensorflow, mongo, http
# PYTHON    3.11 to 3.13; tflite-runtime has wheels up to 3.11, after that its successor is taken
# USER_ID   whom it runs as; fedbus.deploy.prepare gives each service's password to this user
ARG PYTHON=3.11

# --- built here, and left behind -------------------------------------------------------------------

# What every process needs by others. It changes seldom, so it is installed for our library as it is
# without its code.
FROM python:${PYTHON}-slim-bookworm AS ground
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_INPUT=1 PIP_QUIET=1 \
    PIP_NO_CACHE_DIR=1 PIP_CONSTRAINT=/source/constraints.txt
WORKDIR /source
COPY constraints.txt .
COPY libs/fedbus/pyproject.toml libs/fedbus/README.md libs/fedbus/LICENSE bare/
RUN pip install hatchling \
 && python -m venv --without-pip /opt/fedbus \
 && pip wheel --no-deps --no-build-isolation --wheel-dir /bare ./bare \
 && pip --python /opt/fedbus/bin/python install /bare/fedbus-*.whl \
 && pip --python /opt/fedbus/bin/python uninstall --yes fedbus \
 && find /opt/fedbus -type d -name tests -prune -exec rm -rf {} +

FROM ground AS library
COPY libs/fedbus libs/fedbus
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels ./libs/fedbus

FROM ground AS built-service
ARG SERVICE=edge_agent
ARG EXTRAS=
COPY services/${SERVICE} service
COPY --from=library /wheels /wheels
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels ./service \
 && pip --python /opt/fedbus/bin/python install \
        /wheels/fedbus-*.whl "$(echo /wheels/fedbus_*.whl)${EXTRAS:+[$EXTRAS]}" \
 && printf '#!/bin/sh\nexec python -m fedbus_%s\n' "${SERVICE}" >/opt/fedbus/bin/serve \
 && chmod 755 /opt/fedbus/bin/serve

FROM ground AS built-tools
RUN pip --python /opt/fedbus/bin/python install scikit-learn \
 && find /opt/fedbus -type d -name tests -prune -exec rm -rf {} +
COPY --from=library /wheels /wheels
RUN pip --python /opt/fedbus/bin/python install "$(echo /wheels/fedbus-*.whl)[cli,tflite]"

# --- what runs -------------------------------------------------------------------------------------
FROM python:${PYTHON}-slim-bookworm AS runtime
ARG USER_ID=10001
RUN useradd --uid ${USER_ID} --user-group --no-create-home --home-dir /var/lib/fedbus --shell /usr/sbin/nologin fedbus \
 && install -d -o fedbus -g fedbus -m 700 /var/lib/fedbus
ENV PATH=/opt/fedbus/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /var/lib/fedbus
USER fedbus

# The `fedbus` command, and what prepares a deployment.
FROM runtime AS tools
COPY --from=built-tools /opt/fedbus /opt/fedbus
CMD ["fedbus", "--help"]

FROM runtime AS service
COPY --from=built-service /opt/fedbus /opt/fedbus
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-m", "fedbus.deploy.healthcheck"]
CMD ["serve"]
