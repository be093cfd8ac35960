#include "node/identity.h"
